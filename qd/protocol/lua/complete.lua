-- complete: end active tasks that succeeded and are kept for a while. A batch, each task fenced.
--
-- flags: allow-oom
-- KEYS[1]  active           LIST   asynq:{q}:active
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- KEYS[3]  completed        ZSET   asynq:{q}:completed
-- KEYS[4]  processed        STRING asynq:{q}:processed
-- KEYS[5]  processed_day    STRING asynq:{q}:processed:YYYY-MM-DD
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  owner
-- ARGV[3]  stats_expire_at  Unix seconds
-- ARGV[4..] per task: id, lease, unique_key ('' = none), message, keep_until (Unix seconds),
--           has_result (0 or 1), result
-- Returns  per task: 1 completed, 0 gone, -1 stale
-- include: types
-- include: fence
-- include: claim
-- include: stats
-- include: unlock
local bad = check_types({ [KEYS[3]] = 'zset' })
if bad then
  return bad
end
local ended = 0
local ids, replies = claim(KEYS[1], KEYS[2], ARGV[1], ARGV[2], 4, 7)
for n, id in ipairs(ids) do
  if replies[n] == 1 then
    local at, task = 7 * n - 3, ARGV[1] .. id
    ended = ended + 1
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZADD', KEYS[3], ARGV[at + 4], id)
    redis.call('HSET', task, 'msg', ARGV[at + 3], 'state', 'completed')
    if ARGV[at + 5] == '1' then
      redis.call('HSET', task, 'result', ARGV[at + 6])
    end
    redis.call('HDEL', task, 'qd_owner')
    --> note_move(id, 'active', 'completed')
    unlock(ARGV[at + 2], id)
  end
end
bump(KEYS[5], KEYS[4], ended, ARGV[3])
return replies
