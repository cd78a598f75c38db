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
-- ARGV[4..] per task: id, low, high (lease scores), unique_key ('' = none), message, keep_until (Unix
--           seconds), has_result (0 or 1), result
-- Returns  per task: 1 completed, 0 gone, -1 stale
-- include: types
-- include: fence
-- include: stats
-- include: unlock
local bad = check_types({ [KEYS[1]] = 'list', [KEYS[2]] = 'zset', [KEYS[3]] = 'zset' })
if bad then
  return bad
end
local ids, replies, ended = {}, {}, 0
for i = 4, #ARGV, 8 do
  ids[#ids + 1] = ARGV[i]
end
local scores = lease_scores(KEYS[2], ids)
local from = near_tail(KEYS[1], ids[1]) and -1 or 1
for n, id in ipairs(ids) do
  local at = 8 * n - 4
  local task = ARGV[1] .. id
  local mine = fence(task, ARGV[2], scores[n], ARGV[at + 1], ARGV[at + 2])
  if mine == 1 and redis.call('LREM', KEYS[1], from, id) == 0 then
    mine = -1
  end
  if mine == 1 then
    ended = ended + 1
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZADD', KEYS[3], ARGV[at + 5], id)
    redis.call('HSET', task, 'msg', ARGV[at + 4], 'state', 'completed')
    if ARGV[at + 6] == '1' then
      redis.call('HSET', task, 'result', ARGV[at + 7])
    end
    redis.call('HDEL', task, 'qd_owner')
    --> note_move(id, 'active', 'completed')
    unlock(ARGV[at + 3], id)
  end
  replies[n] = mine
end
bump(KEYS[5], KEYS[4], ended, ARGV[3])
return replies
