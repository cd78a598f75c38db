-- park: let taken tasks wait, in `scheduled`, until a gate lets them pass. A batch, each task fenced.
--
-- Nothing is counted, no retry is charged. The score is when a task comes back by itself, should nobody
-- wake it. One that was called meanwhile (`unpark`) goes straight back to the head of its line.
--
-- flags: allow-oom
-- KEYS[1]  active           LIST   asynq:{q}:active
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- KEYS[3]  scheduled        ZSET   asynq:{q}:scheduled
-- KEYS[4]  pending          LIST   asynq:{q}:pending
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  owner
-- ARGV[3]  now_ns           nanoseconds
-- ARGV[4..] per task: id, lease, until (Unix seconds), what it waits for
-- Returns  per task: 1 parked, 0 gone, -1 stale
-- include: types
-- include: fence
-- include: claim
local bad = check_types({ [KEYS[3]] = 'zset', [KEYS[4]] = 'list' })
if bad then
  return bad
end
local called = {}
local ids, replies = claim(KEYS[1], KEYS[2], ARGV[1], ARGV[2], 4, 4)
for n, id in ipairs(ids) do
  if replies[n] == 1 then
    local at, task = 4 * n, ARGV[1] .. id
    redis.call('ZREM', KEYS[2], id)
    -- It was taken alone: a group it once came from must not have it back.
    if redis.call('HDEL', task, 'qd_called') == 1 then
      called[#called + 1] = id
      redis.call('HSET', task, 'state', 'pending', 'pending_since', ARGV[3])
      redis.call('HDEL', task, 'qd_owner', 'qd_front', 'group')
      --> note_move(id, 'active', 'pending', 'what it was to wait for has come')
    else
      redis.call('ZADD', KEYS[3], ARGV[at + 2], id)
      redis.call('HSET', task, 'state', 'scheduled', 'qd_waits', ARGV[at + 3])
      redis.call('HDEL', task, 'qd_owner', 'qd_front', 'group')
      --> note_move(id, 'active', 'scheduled', 'waits for ' .. ARGV[at + 3], ARGV[at + 2])
    end
  end
end
-- Listed oldest first; pushed in reverse, the oldest is the next to run.
for n = #called, 1, -1 do
  redis.call('RPUSH', KEYS[4], called[n])
end
return replies
