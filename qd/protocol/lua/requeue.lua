-- requeue: put active tasks back at the head of their line, as if never taken. A batch, fenced.
--
-- flags: allow-oom
-- KEYS[1]  active           LIST   asynq:{q}:active
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- KEYS[3]  pending          LIST   asynq:{q}:pending
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  owner
-- ARGV[3]  now_ns           nanoseconds
-- ARGV[4..] per task: id, lease
-- Returns  per task: 1 put back, 0 gone, -1 stale
-- include: types
-- include: fence
local bad = check_types({ [KEYS[1]] = 'list', [KEYS[2]] = 'zset', [KEYS[3]] = 'list' })
if bad then
  return bad
end
local ids, replies = {}, {}
for i = 4, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
end
local scores = lease_scores(KEYS[2], ids)
for n, id in ipairs(ids) do
  local at = 2 * n + 2
  local task = ARGV[1] .. id
  local mine = fence(task, ARGV[2], scores[n], ARGV[at + 1])
  if mine == 1 and redis.call('LREM', KEYS[1], 1, id) == 0 then
    mine = -1
  end
  if mine == 1 then
    redis.call('ZREM', KEYS[2], id)
    redis.call('RPUSH', KEYS[3], id)
    -- asynq leaves pending_since out here, and shows a latency of 0 until the task is taken.
    redis.call('HSET', task, 'state', 'pending', 'pending_since', ARGV[3])
    redis.call('HDEL', task, 'qd_owner')
    --> note_move(id, 'active', 'pending', 'put back by its worker')
  end
  replies[n] = mine
end
return replies
