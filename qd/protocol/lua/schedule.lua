-- schedule: keep new tasks until their time. A batch; each task by itself.
--
-- KEYS[1]  scheduled        ZSET   asynq:{q}:scheduled
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2..] per task: id, message, unique_key ('' = none), unique_ttl (seconds), process_at (Unix
--           seconds), group ('' = none)
-- Returns  per task: 1, or 'c' .. state (the id is in use), or 'd' .. holder (the lock is held)
-- include: types
-- include: refuse
local bad = check_types({ [KEYS[1]] = 'zset' })
if bad then
  return bad
end
local replies = {}
for i = 2, #ARGV, 6 do
  local id, unique_key = ARGV[i], ARGV[i + 2]
  local task = ARGV[1] .. id
  local reply = 1
  if redis.call('EXISTS', task) == 1 then
    reply = in_use(task)
  elseif unique_key ~= '' then
    if redis.call('SET', unique_key, id, 'NX', 'EX', ARGV[i + 3]) then
      redis.call('HSET', task, 'msg', ARGV[i + 1], 'state', 'scheduled', 'unique_key', unique_key)
    else
      reply = locked(unique_key)
    end
  else
    redis.call('HSET', task, 'msg', ARGV[i + 1], 'state', 'scheduled')
  end
  if reply == 1 then
    redis.call('ZADD', KEYS[1], ARGV[i + 4], id)
    if ARGV[i + 5] ~= '' then
      -- asynq leaves this out, and a delayed task then never joins its group.
      redis.call('HSET', task, 'group', ARGV[i + 5])
    end
    --> note_move(id, '', 'scheduled', '', ARGV[i + 4])
  end
  replies[#replies + 1] = reply
end
return replies
