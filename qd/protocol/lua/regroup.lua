-- regroup: put tasks of a staged set that nobody finishes back into their group. A slice.
--
-- KEYS[1]  set              ZSET   asynq:{q}:g:<group>:<set id>
-- KEYS[2]  group            ZSET   asynq:{q}:g:<group>
-- KEYS[3]  groups           SET    asynq:{q}:groups
-- KEYS[4]  aggregation_sets ZSET   asynq:{q}:aggregation_sets
-- ARGV[1]  deadline         of the set, as it was seen ('' = the set was not listed)
-- ARGV[2]  name             of the group
-- ARGV[3]  limit            tasks at most
-- Returns  1 done, 2 call again for the rest, 0 it has changed: nothing was done
-- include: types
local bad = check_types({ [KEYS[1]] = 'zset', [KEYS[2]] = 'zset', [KEYS[3]] = 'set', [KEYS[4]] = 'zset' })
if bad then
  return bad
end
if (redis.call('ZSCORE', KEYS[4], KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
if ARGV[1] == '' and redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local part = redis.call('ZRANGE', KEYS[1], 0, ARGV[3] - 1, 'WITHSCORES')
local ids, members = {}, {}
for i = 1, #part, 2 do
  ids[#ids + 1] = part[i]
  members[#members + 1] = part[i + 1]
  members[#members + 1] = part[i]
end
if #ids > 0 then
  redis.call('ZADD', KEYS[2], unpack(members))
  redis.call('SADD', KEYS[3], ARGV[2])
  redis.call('ZREM', KEYS[1], unpack(ids))
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 2
end
redis.call('ZREM', KEYS[4], KEYS[1])
return 1
