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
-- KEYS[5]  fetch            LIST   qd:{q}:fetch:<owner>: nonce, then ids
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  count
-- ARGV[3]  lease_until      Unix seconds
-- ARGV[4]  owner
-- ARGV[5]  nonce
-- ARGV[6]  remember         seconds
-- Returns  -1 when paused, else a flat list: id, message, deaths, pending since (ns), id, message ...
-- include: types
-- include: unlock
local bad = check_types({ [KEYS[1]] = 'list', [KEYS[2]] = 'list', [KEYS[3]] = 'zset', [KEYS[5]] = 'list' })
if bad then
  return bad
end
local taken = {}
if redis.call('LINDEX', KEYS[5], 0) == ARGV[5] then
  for _, id in ipairs(redis.call('LRANGE', KEYS[5], 1, -1)) do
    local task = redis.call('HMGET', ARGV[1] .. id, 'state', 'qd_owner', 'msg', 'qd_deaths')
    if task[1] == 'active' and task[2] == ARGV[4] then
      redis.call('ZADD', KEYS[3], 'XX', ARGV[3], id)
      taken[#taken + 1] = id
      taken[#taken + 1] = task[3]
      taken[#taken + 1] = task[4] or ''
      taken[#taken + 1] = ''
    end
  end
  return taken
end
if redis.call('EXISTS', KEYS[4]) == 1 then
  return -1
end
local waiting = redis.call('LRANGE', KEYS[1], -tonumber(ARGV[2]), -1)
if #waiting == 0 then
  return taken
end
local ids, leases = {}, {}
for i = #waiting, 1, -1 do
  local id = waiting[i]
  local task = redis.pcall('HMGET', ARGV[1] .. id, 'msg', 'qd_deaths', 'pending_since')
  if not task.err and not task[1] then
    -- No bytes, no task. The rest of it would keep the id taken.
    --> note_move(id, 'pending', '', 'it has no message')
    drop_task(ARGV[1], id)
  elseif not task.err then
    ids[#ids + 1] = id
    leases[#leases + 1] = ARGV[3]
    leases[#leases + 1] = id
    taken[#taken + 1] = id
    taken[#taken + 1] = task[1]
    taken[#taken + 1] = task[2] or ''
    taken[#taken + 1] = task[3] or ''
  end
end
if #ids > 0 then
  redis.call('ZADD', KEYS[3], unpack(leases))
  redis.call('LPUSH', KEYS[2], unpack(ids))
  for _, id in ipairs(ids) do
    redis.call('HSET', ARGV[1] .. id, 'state', 'active', 'qd_owner', ARGV[4])
    redis.call('HDEL', ARGV[1] .. id, 'pending_since')
    --> note_move(id, 'pending', 'active')
  end
end
-- Last: should a right have been taken away, a task is listed twice, and not nowhere.
redis.call('LTRIM', KEYS[1], 0, -#waiting - 1)
if #ids == 0 then
  return taken
end
redis.call('DEL', KEYS[5])
redis.call('RPUSH', KEYS[5], ARGV[5], unpack(ids))
redis.call('EXPIRE', KEYS[5], ARGV[6])
return taken
