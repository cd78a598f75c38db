-- dead_letter: store a task in the archived set right away.
--
-- KEYS[1]  archived         ZSET   asynq:{q}:archived
-- KEYS[2]  task             HASH   asynq:{q}:t:<id>
-- ARGV[1]  id
-- ARGV[2]  message
-- ARGV[3]  now              Unix seconds
-- Returns  1 stored, 0 the id is in use
-- include: types
local bad = check_types({ [KEYS[1]] = 'zset' })
if bad then
  return bad
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
redis.call('HSET', KEYS[2], 'msg', ARGV[2], 'state', 'archived')
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
--> note_move(ARGV[1], '', 'archived', said(ARGV[2]))
return 1
