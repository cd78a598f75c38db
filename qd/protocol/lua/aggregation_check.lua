-- aggregation_check: if a group is ripe, stage its tasks as one set to be aggregated.
--
-- flags: allow-oom
-- KEYS[1]  group            ZSET   asynq:{q}:g:<group>
-- KEYS[2]  groups           SET    asynq:{q}:groups
-- KEYS[3]  aggregation_sets ZSET   asynq:{q}:aggregation_sets
-- KEYS[4]  set              ZSET   asynq:{q}:g:<group>:<set id>
-- ARGV[1]  max_size         0 = no limit
-- ARGV[2]  max_delay        seconds, 0 = no limit
-- ARGV[3]  grace            seconds
-- ARGV[4]  expire_at        Unix seconds; the set is put back after that
-- ARGV[5]  now              Unix seconds
-- ARGV[6]  group_name
-- Returns  how many tasks were staged; 0 when the group is not ripe
-- include: types
local bad = check_types({ [KEYS[1]] = 'zset', [KEYS[2]] = 'set', [KEYS[3]] = 'zset' })
if bad then
  return bad
end
local max_size, max_delay, grace, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
local size = redis.call('ZCARD', KEYS[1])
if size == 0 then
  redis.call('SREM', KEYS[2], ARGV[6])
  return 0
end
local oldest = tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2])
local newest = tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
local full = max_size > 0 and size >= max_size
local overdue = max_delay > 0 and oldest <= now - max_delay
if not (full or overdue or newest <= now - grace) then
  return 0
end
local take = max_size > 0 and math.min(size, max_size) or size
for from = 0, take - 1, 500 do
  local part = redis.call('ZRANGE', KEYS[1], from, math.min(from + 499, take - 1), 'WITHSCORES')
  local members = {}
  for i = 1, #part, 2 do
    members[#members + 1] = part[i + 1]
    members[#members + 1] = part[i]
  end
  redis.call('ZADD', KEYS[4], unpack(members))
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, take - 1)
redis.call('ZADD', KEYS[3], ARGV[4], KEYS[4])
if take == size then
  redis.call('SREM', KEYS[2], ARGV[6])
end
return take
