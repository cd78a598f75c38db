-- expel: move tasks that nobody can read out of a staged set into the dead-letter set.
--
-- flags: allow-oom
-- KEYS[1]  set              ZSET   asynq:{q}:g:<group>:<set id>
-- KEYS[2]  archived         ZSET   asynq:{q}:archived
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  now              Unix seconds
-- ARGV[3..] ids
-- Returns  how many were moved
-- include: types
local bad = check_types({ [KEYS[1]] = 'zset', [KEYS[2]] = 'zset' })
if bad then
  return bad
end
local moved = 0
for i = 3, #ARGV do
  if redis.call('ZREM', KEYS[1], ARGV[i]) == 1 then
    redis.call('HSET', ARGV[1] .. ARGV[i], 'state', 'archived')
    redis.call('ZADD', KEYS[2], ARGV[2], ARGV[i])
    moved = moved + 1
    --> note_move(ARGV[i], 'aggregating', 'archived', 'its message cannot be read')
  end
end
return moved
