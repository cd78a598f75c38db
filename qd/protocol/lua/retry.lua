-- retry: let active tasks run again later. A batch, each task fenced.
--
-- flags: allow-oom
-- KEYS[1]  active           LIST   asynq:{q}:active
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- KEYS[3]  retry            ZSET   asynq:{q}:retry
-- KEYS[4]  processed        STRING asynq:{q}:processed
-- KEYS[5]  processed_day    STRING asynq:{q}:processed:YYYY-MM-DD
-- KEYS[6]  failed           STRING asynq:{q}:failed
-- KEYS[7]  failed_day       STRING asynq:{q}:failed:YYYY-MM-DD
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  owner
-- ARGV[3]  stats_expire_at  Unix seconds
-- ARGV[4..] per task: id, lease, message, retry_at (Unix seconds), is_failure (0 or 1)
-- Returns  per task: 1 moved, 0 gone, -1 stale
-- include: types
-- include: fence
-- include: claim
-- include: stats
local bad = check_types({ [KEYS[3]] = 'zset' })
if bad then
  return bad
end
local failures = 0
local ids, replies = claim(KEYS[1], KEYS[2], ARGV[1], ARGV[2], 4, 5)
for n, id in ipairs(ids) do
  if replies[n] == 1 then
    local at, task = 5 * n - 1, ARGV[1] .. id
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZADD', KEYS[3], ARGV[at + 3], id)
    redis.call('HSET', task, 'msg', ARGV[at + 2], 'state', 'retry')
    redis.call('HDEL', task, 'qd_owner')
    --> note_move(id, 'active', 'retry', said(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 4])
    failures = failures + tonumber(ARGV[at + 4])
  end
end
bump(KEYS[5], KEYS[4], failures, ARGV[3])
bump(KEYS[7], KEYS[6], failures, ARGV[3])
return replies
