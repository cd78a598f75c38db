-- unpark: let parked tasks of one queue go to the head of the line. A batch, oldest first.
--
-- They stand behind those that were called before and have not been taken yet.
--
-- flags: allow-oom
-- KEYS[1]  scheduled        ZSET   asynq:{q}:scheduled
-- KEYS[2]  pending          LIST   asynq:{q}:pending
-- KEYS[3]  paused           STRING asynq:{q}:paused
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  now_ns           nanoseconds
-- ARGV[3..] ids
-- Returns  per task: 1 it is on its way (now, or it was already), 0 it will not come: gone, ended,
--          waiting for something else, or its queue is paused
-- include: types
local bad = check_types({ [KEYS[1]] = 'zset', [KEYS[2]] = 'list' })
if bad then
  return bad
end
local paused = redis.call('EXISTS', KEYS[3]) == 1
local replies, moved = {}, {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local task = ARGV[1] .. id
  local found = redis.pcall('HMGET', task, 'state', 'qd_waits')
  local state = not found.err and found[1]
  local reply = 0
  if state == 'active' then
    -- Taken, and perhaps about to be parked: it will see that it was called.
    redis.call('HSET', task, 'qd_called', 1)
    reply = 1
  elseif paused then
    reply = 0
  elseif state == 'pending' then
    reply = 1
  elseif state == 'scheduled' and found[2] and redis.call('ZREM', KEYS[1], id) == 1 then
    redis.call('HSET', task, 'state', 'pending', 'pending_since', ARGV[2])
    redis.call('HDEL', task, 'qd_waits', 'qd_called')
    moved[#moved + 1] = id
    --> note_move(id, 'scheduled', 'pending', 'what it waited for has come')
    reply = 1
  end
  replies[#replies + 1] = reply
end
if #moved == 0 then
  return replies
end
local head = redis.call('LRANGE', KEYS[2], -500, -1)
local called = 0
while called < #head and redis.pcall('HEXISTS', ARGV[1] .. head[#head - called], 'qd_front') == 1 do
  called = called + 1
end
for _, id in ipairs(moved) do
  redis.call('HSET', ARGV[1] .. id, 'qd_front', 1)
end
if called > 0 then
  redis.call('RPOP', KEYS[2], called)
end
for n = #moved, 1, -1 do
  redis.call('RPUSH', KEYS[2], moved[n])
end
for n = #head - called + 1, #head do
  redis.call('RPUSH', KEYS[2], head[n])
end
return replies
