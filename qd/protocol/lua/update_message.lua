-- update_message: replace the message of a scheduled task, if nobody else did since it was read.
--
-- KEYS[1]  task             HASH   asynq:{q}:t:<id>
-- ARGV[1]  digest           sha1 of the message that was read
-- ARGV[2]  message
-- Returns  1 replaced, 0 the hash is gone, -1 not scheduled any more, -3 changed by somebody else
local task = redis.call('HMGET', KEYS[1], 'state', 'msg')
if not task[1] and not task[2] then
  return 0
end
if task[1] ~= 'scheduled' then
  return -1
end
if redis.sha1hex(task[2] or '') ~= ARGV[1] then
  return -3
end
redis.call('HSET', KEYS[1], 'msg', ARGV[2])
return 1
