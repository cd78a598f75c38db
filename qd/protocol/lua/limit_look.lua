-- limit_look: call those who wait and can go by now. At most 500 tasks.
--
-- flags: allow-oom
-- KEYS[1]  due              ZSET   qd:{limit:NAME}:due
-- ARGV[1]  prefix           qd:{limit:NAME}:
-- ARGV[2]  rate             starts per second, 0 = any
-- ARGV[3]  burst
-- ARGV[4]  slots            0 = any
-- Returns  microseconds until somebody must look again (-1 = nobody waits), then per task that is
--          called: its key, key of the limit
-- include: limit
local limit = open_limit(ARGV[1], ARGV[2], ARGV[3], ARGV[4])
local members = {}
for _, key in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', limit.now, 'BYSCORE', 'LIMIT', 0, 100)) do
  local out = {}
  call_waiting(limit, open_key(limit, key), 500 - #members / 2, out)
  for _, task in ipairs(out) do
    members[#members + 1] = task
    members[#members + 1] = key
  end
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return { first[2] and math.max(0, math.floor(tonumber(first[2]) - limit.now)) or -1, unpack(members) }
