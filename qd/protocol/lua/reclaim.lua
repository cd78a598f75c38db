-- reclaim: put staged sets whose aggregator did not finish back into their groups.
--
-- flags: allow-oom
-- KEYS[1]  aggregation_sets ZSET   asynq:{q}:aggregation_sets
-- KEYS[2]  groups           SET    asynq:{q}:groups
-- ARGV[1]  now              Unix seconds
-- ARGV[2]  group_prefix     asynq:{q}:g:
-- ARGV[3]  limit            sets at most
-- Returns  how many sets were put back
-- include: types
local bad = check_types({ [KEYS[1]] = 'zset', [KEYS[2]] = 'set' })
if bad then
  return bad
end
local stale = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[3])
for _, set in ipairs(stale) do
  local group = string.match(set, '^(.*):[^:]*$')
  local ours = group and string.sub(group, 1, #ARGV[2]) == ARGV[2]
  if ours and not check_types({ [set] = 'zset', [group] = 'zset' }) then
    for from = 0, redis.call('ZCARD', set) - 1, 500 do
      local part = redis.call('ZRANGE', set, from, from + 499, 'WITHSCORES')
      local members = {}
      for i = 1, #part, 2 do
        members[#members + 1] = part[i + 1]
        members[#members + 1] = part[i]
      end
      redis.call('ZADD', group, unpack(members))
      -- asynq forgets this, and the group is then never looked at.
      redis.call('SADD', KEYS[2], string.sub(group, #ARGV[2] + 1))
    end
    redis.call('DEL', set)
  end
  -- What is no set of tasks is only forgotten: nothing of it could be put back, ever.
  redis.call('ZREM', KEYS[1], set)
end
return #stale
