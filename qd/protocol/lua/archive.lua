-- archive: move active tasks to the dead-letter set, and trim it. A batch, each task fenced.
--
-- flags: allow-oom
-- KEYS[1]  active           LIST   asynq:{q}:active
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- KEYS[3]  archived         ZSET   asynq:{q}:archived
-- KEYS[4]  processed        STRING asynq:{q}:processed
-- KEYS[5]  processed_day    STRING asynq:{q}:processed:YYYY-MM-DD
-- KEYS[6]  failed           STRING asynq:{q}:failed
-- KEYS[7]  failed_day       STRING asynq:{q}:failed:YYYY-MM-DD
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  owner
-- ARGV[3]  stats_expire_at  Unix seconds
-- ARGV[4]  now              Unix seconds
-- ARGV[5]  oldest           Unix seconds; entries up to here are trimmed
-- ARGV[6]  keep             entries at most
-- ARGV[7..] per task: id, lease, message ('' = keep the bytes that are there)
-- Returns  per task: 1 archived, 0 gone, -1 stale; then how many old entries were trimmed
-- include: types
-- include: fence
-- include: claim
-- include: stats
-- include: unlock
-- include: trim
local bad = check_types({ [KEYS[3]] = 'zset' })
if bad then
  return bad
end
local ended = 0
local ids, replies = claim(KEYS[1], KEYS[2], ARGV[1], ARGV[2], 7, 3)
for n = 1, #ids do
  if replies[n] == 1 then
    ended = ended + 1
  end
end
-- Trimmed before the new ones come in, so that none of them is trimmed at once.
local trimmed = ended > 0 and trim_archived(ARGV[1], KEYS[3], ARGV[5], tonumber(ARGV[6]) - ended) or 0
for n, id in ipairs(ids) do
  if replies[n] == 1 then
    local task, message = ARGV[1] .. id, ARGV[3 * n + 6]
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZADD', KEYS[3], ARGV[4], id)
    if message ~= '' then
      redis.call('HSET', task, 'msg', message)
    end
    redis.call('HSET', task, 'state', 'archived')
    redis.call('HDEL', task, 'qd_owner')
    --> note_move(id, 'active', 'archived', message == '' and 'its message cannot be read' or said(message))
  end
end
bump(KEYS[5], KEYS[4], ended, ARGV[3])
bump(KEYS[7], KEYS[6], ended, ARGV[3])
replies[#replies + 1] = trimmed
return replies
