-- drop_ghost: forget an active id whose hash is gone or has no message. Safe to repeat.
--
-- KEYS[1]  active           LIST   asynq:{q}:active
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- KEYS[3]  task             HASH   asynq:{q}:t:<id>
-- ARGV[1]  id
-- Returns  1 dropped, 0 it has a message after all
-- include: types
local bad = check_types({ [KEYS[1]] = 'list', [KEYS[2]] = 'zset' })
if bad then
  return bad
end
local found = redis.pcall('HEXISTS', KEYS[3], 'msg')
if found == 1 then
  return 0
end
redis.call('LREM', KEYS[1], 1, ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
-- A key of another type is none of ours.
if found == 0 then
  --> note_move(ARGV[1], 'active', '', 'it has no message')
  redis.call('DEL', KEYS[3])
end
return 1
