-- flows_due: take in hand the flows that are to be looked at, so that no other scheduler does so now.
--
-- flags: allow-oom
-- KEYS[1]  flows            ZSET   qd:flows
-- ARGV[1]  now              Unix seconds
-- ARGV[2]  until            Unix seconds: when they are due again, should the caller die
-- ARGV[3]  limit            flows at most
-- Returns  their ids
-- include: types
local bad = check_types({ [KEYS[1]] = 'zset' })
if bad then
  return bad
end
local found = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[3])
for _, id in ipairs(found) do
  redis.call('ZADD', KEYS[1], ARGV[2], id)
end
return found
