-- dequeue: take up to `count` tasks of one queue, oldest first, under a lease.
--
-- The same nonce gives the same tasks again, as far as they are still this owner's: a lost answer
-- neither loses nor doubles a task. An id whose hash is gone is dropped, not revived.
--
-- flags: allow-oom
-- KEYS[1]  pending          LIST   asynq:{q}:pending
-- KEYS[2]  active           LIST   asynq:{q}:active
-- KEYS[3]  lease            ZSET   asynq:{q}:lease
-- KEYS[4]  paused           STRING asynq:{q}:paused
-- KEYS[5]  fetch            STRING qd:{q}:fetch:<owner>: nonce, then ids (MessagePack)
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  count
-- ARGV[3]  lease_until      Unix seconds
-- ARGV[4]  owner
-- ARGV[5]  nonce
-- ARGV[6]  remember         seconds
-- Returns  -1 when paused, else a flat list: id, message, deaths, pending since (ns), id, message ...
-- include: types
-- include: unlock
local call, prefix, nonce, taken = redis.call, ARGV[1], ARGV[5], {}
if call('GETRANGE', KEYS[5], 0, #nonce - 1) == nonce then
  for _, id in ipairs(cmsgpack.unpack(string.sub(call('GET', KEYS[5]), #nonce + 1))) do
    local task = call('HMGET', prefix .. id, 'state', 'qd_owner', 'msg', 'qd_deaths')
    if task[1] == 'active' and task[2] == ARGV[4] then
      call('ZADD', KEYS[3], 'XX', ARGV[3], id)
      taken[#taken + 1] = id
      taken[#taken + 1] = task[3]
      taken[#taken + 1] = task[4] or ''
      taken[#taken + 1] = ''
    end
  end
  return taken
end
if call('EXISTS', KEYS[4]) == 1 then
  return -1
end
local waiting = call('LRANGE', KEYS[1], -tonumber(ARGV[2]), -1)
if #waiting == 0 then
  return taken
end
-- The others have been read by now, which would have failed.
local bad = check_types({ [KEYS[2]] = 'list', [KEYS[3]] = 'zset' })
if bad then
  return bad
end
local ids, tasks, leases, n = {}, {}, {}, 0
for i = #waiting, 1, -1 do
  local id = waiting[i]
  local task = prefix .. id
  local found = redis.pcall('HMGET', task, 'msg', 'qd_deaths', 'pending_since')
  if not found.err and not found[1] then
    -- No bytes, no task. The rest of it would keep the id taken.
    --> note_move(id, 'pending', '', 'it has no message')
    drop_task(prefix, id)
  elseif not found.err then
    n = n + 1
    ids[n], tasks[n] = id, task
    leases[2 * n - 1], leases[2 * n] = ARGV[3], id
    taken[4 * n - 3], taken[4 * n - 2] = id, found[1]
    taken[4 * n - 1], taken[4 * n] = found[2] or '', found[3] or ''
  end
end
if n > 0 then
  call('ZADD', KEYS[3], unpack(leases))
  call('LPUSH', KEYS[2], unpack(ids))
  for i = 1, n do
    call('HSET', tasks[i], 'state', 'active', 'qd_owner', ARGV[4])
    call('HDEL', tasks[i], 'pending_since')
    --> note_move(ids[i], 'pending', 'active')
  end
end
-- Last: should a right have been taken away, a task is listed twice, and not nowhere.
call('LTRIM', KEYS[1], 0, -#waiting - 1)
if n > 0 then
  call('SET', KEYS[5], nonce .. cmsgpack.pack(ids), 'EX', ARGV[6])
end
return taken
