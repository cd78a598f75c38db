-- relist_group: list a group if it has tasks, and only then. Safe to repeat.
--
-- KEYS[1]  group            ZSET   asynq:{q}:g:<group>
-- KEYS[2]  groups           SET    asynq:{q}:groups
-- KEYS[3]  aggregation_sets ZSET   asynq:{q}:aggregation_sets
-- ARGV[1]  name             of the group
-- Returns  1 changed, 0 nothing to do
-- include: types
local bad = check_types({ [KEYS[1]] = 'zset', [KEYS[2]] = 'set', [KEYS[3]] = 'zset' })
if bad then
  return bad
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  return redis.call('SREM', KEYS[2], ARGV[1])
end
if redis.call('ZSCORE', KEYS[3], KEYS[1]) then
  return 0
end
return redis.call('SADD', KEYS[2], ARGV[1])
