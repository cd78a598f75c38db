-- done: end active tasks that succeeded; nothing of them is kept. A batch, each task fenced.
--
-- flags: allow-oom
-- KEYS[1]  active           LIST   asynq:{q}:active
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- KEYS[3]  processed        STRING asynq:{q}:processed
-- KEYS[4]  processed_day    STRING asynq:{q}:processed:YYYY-MM-DD
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  owner
-- ARGV[3]  stats_expire_at  Unix seconds
-- ARGV[4..] per task: id, low, high (lease scores), unique_key ('' = none)
-- Returns  per task: 1 done, 0 gone, -1 stale
-- include: types
-- include: fence
-- include: stats
-- include: unlock
local bad = check_types({ [KEYS[1]] = 'list', [KEYS[2]] = 'zset' })
if bad then
  return bad
end
local ids, replies, ended, tasks = {}, {}, {}, {}
for i = 4, #ARGV, 4 do
  ids[#ids + 1] = ARGV[i]
end
local scores = lease_scores(KEYS[2], ids)
local from = near_tail(KEYS[1], ids[1]) and -1 or 1
for n, id in ipairs(ids) do
  local at = 4 * n
  local task = ARGV[1] .. id
  local mine = fence(task, ARGV[2], scores[n], ARGV[at + 1], ARGV[at + 2])
  if mine == 1 and redis.call('LREM', KEYS[1], from, id) == 0 then
    mine = -1
  end
  if mine == 1 then
    ended[#ended + 1] = id
    tasks[#tasks + 1] = task
    --> note_move(id, 'active', '')
    unlock(ARGV[at + 3], id)
  end
  replies[n] = mine
end
if #ended > 0 then
  redis.call('ZREM', KEYS[2], unpack(ended))
  redis.call('DEL', unpack(tasks))
  bump(KEYS[4], KEYS[3], #ended, ARGV[3])
end
return replies
