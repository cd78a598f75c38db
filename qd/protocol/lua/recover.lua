-- recover: take tasks whose lease has run out from workers of qd. A batch, each task fenced.
--
-- Such a worker died with its host, as far as anybody can tell. So no retry is charged. The first
-- loss is forgiven, each further one is a death: a task that has seen too many is archived, with the
-- message that says so.
--
-- flags: allow-oom
-- KEYS[1]  pending          LIST   asynq:{q}:pending
-- KEYS[2]  active           LIST   asynq:{q}:active
-- KEYS[3]  lease            ZSET   asynq:{q}:lease
-- KEYS[4]  archived         ZSET   asynq:{q}:archived
-- KEYS[5]  processed        STRING asynq:{q}:processed
-- KEYS[6]  processed_day    STRING asynq:{q}:processed:YYYY-MM-DD
-- KEYS[7]  failed           STRING asynq:{q}:failed
-- KEYS[8]  failed_day       STRING asynq:{q}:failed:YYYY-MM-DD
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  now_ns           nanoseconds
-- ARGV[3]  now              Unix seconds
-- ARGV[4]  cause            what is noted with the task
-- ARGV[5]  deaths_max
-- ARGV[6]  stats_expire_at  Unix seconds
-- ARGV[7..] per task: id, owner, score of the lease, message (for the archive)
-- Returns  per task: 1 put back, 2 archived, 0 gone, -1 stale
-- include: types
-- include: fence
-- include: stats
-- include: deaths
local bad = check_types({ [KEYS[1]] = 'list', [KEYS[2]] = 'list', [KEYS[3]] = 'zset', [KEYS[4]] = 'zset' })
if bad then
  return bad
end
local ids, replies, poisoned = {}, {}, 0
for i = 7, #ARGV, 4 do
  ids[#ids + 1] = ARGV[i]
end
local scores = lease_scores(KEYS[3], ids)
-- Listed oldest first; pushed in reverse, the oldest is the next to run.
for n = #ids, 1, -1 do
  local at = 4 * n + 3
  local id, task = ids[n], ARGV[1] .. ids[n]
  local mine = fence(task, ARGV[at + 1], scores[n], ARGV[at + 2])
  -- Without a lease there is nothing that has run out.
  if mine == 1 and (not scores[n] or redis.call('LREM', KEYS[2], -1, id) == 0) then
    mine = -1
  end
  if mine == 1 then
    redis.call('ZREM', KEYS[3], id)
    redis.call('HDEL', task, 'qd_owner')
    if count_death(task, ARGV[4], true) >= tonumber(ARGV[5]) then
      redis.call('HSET', task, 'state', 'archived', 'msg', ARGV[at + 3])
      redis.call('ZADD', KEYS[4], ARGV[3], id)
      poisoned = poisoned + 1
      mine = 2
      --> note_move(id, 'active', 'archived', said(ARGV[at + 3]))
    else
      redis.call('HSET', task, 'state', 'pending', 'pending_since', ARGV[2])
      redis.call('RPUSH', KEYS[1], id)
      --> note_move(id, 'active', 'pending', ARGV[4])
    end
  end
  replies[n] = mine
end
bump(KEYS[6], KEYS[5], poisoned, ARGV[6])
bump(KEYS[8], KEYS[7], poisoned, ARGV[6])
return replies
