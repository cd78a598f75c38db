-- doctor_groups: what some keys of groups and staged sets are.
--
-- KEYS[1]  groups           SET    asynq:{q}:groups
-- KEYS[2]  aggregation_sets ZSET   asynq:{q}:aggregation_sets
-- ARGV[1]  group_prefix     asynq:{q}:g:
-- ARGV[2..] keys
-- Returns  flat list: type, deadline as a staged set ('' = it is none), 1 if listed as a group
local out = {}
for i = 2, #ARGV do
  local deadline = redis.pcall('ZSCORE', KEYS[2], ARGV[i])
  local listed = redis.pcall('SISMEMBER', KEYS[1], string.sub(ARGV[i], #ARGV[1] + 1))
  out[#out + 1] = redis.call('TYPE', ARGV[i]).ok
  out[#out + 1] = type(deadline) == 'string' and deadline or ''
  out[#out + 1] = listed == 1 and 1 or 0
end
return out
