-- adopt: give active tasks that have no lease one that is over, so that they are recovered.
--
-- flags: allow-oom
-- KEYS[1]  active           LIST   asynq:{q}:active
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- ARGV[1]  lease_until      Unix seconds
-- ARGV[2..] ids
-- Returns  how many were given one
-- include: types
local bad = check_types({ [KEYS[1]] = 'list', [KEYS[2]] = 'zset' })
if bad then
  return bad
end
local adopted = 0
for i = 2, #ARGV do
  if redis.call('LPOS', KEYS[1], ARGV[i], 'RANK', -1) then
    adopted = adopted + redis.call('ZADD', KEYS[2], 'NX', ARGV[1], ARGV[i])
  end
end
return adopted
