-- write_result: store what a running task has to say so far. Fenced.
--
-- KEYS[1]  task             HASH   asynq:{q}:t:<id>
-- ARGV[1]  owner
-- ARGV[2]  result
-- Returns  1 stored, 0 the task is not this owner's any more
local found = redis.call('HMGET', KEYS[1], 'state', 'qd_owner')
if found[1] ~= 'active' or found[2] ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'result', ARGV[2])
return 1
