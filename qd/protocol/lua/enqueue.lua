-- enqueue: put new tasks at the tail of a queue's line. A batch; each task by itself.
--
-- KEYS[1]  pending          LIST   asynq:{q}:pending
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  now_ns           nanoseconds
-- ARGV[3]  width            arguments per task: 2, or 4 if there are unique ones among them
-- ARGV[4..] per task: id, message [, unique_key ('' = none), unique_ttl (seconds)]
-- Returns  per task: 1, or 'c' .. state (the id is in use), or 'd' .. holder (the lock is held)
-- include: types
-- include: refuse
local bad = check_types({ [KEYS[1]] = 'list' })
if bad then
  return bad
end
local call, prefix, now_ns, width = redis.call, ARGV[1], ARGV[2], tonumber(ARGV[3])
local replies, pushed, count = {}, {}, 0
for i = 4, #ARGV, width do
  local id, unique_key = ARGV[i], width == 4 and ARGV[i + 2] or ''
  local task = prefix .. id
  local reply = 1
  if call('EXISTS', task) == 1 then
    reply = in_use(task)
  elseif unique_key ~= '' then
    -- The id is checked before the lock is taken, so a conflict leaves no lock behind.
    if call('SET', unique_key, id, 'NX', 'EX', ARGV[i + 3]) then
      call('HSET', task, 'msg', ARGV[i + 1], 'state', 'pending', 'pending_since', now_ns, 'unique_key', unique_key)
    else
      reply = locked(unique_key)
    end
  else
    call('HSET', task, 'msg', ARGV[i + 1], 'state', 'pending', 'pending_since', now_ns)
  end
  if reply == 1 then
    count = count + 1
    pushed[count] = id
    --> note_move(id, '', 'pending')
  end
  replies[#replies + 1] = reply
end
for from = 1, count, 500 do
  call('LPUSH', KEYS[1], unpack(pushed, from, math.min(from + 499, count)))
end
return replies
