-- note_progress: keep how far running tasks say they are. A batch, each task fenced.
--
-- KEYS[1]  lease            ZSET   asynq:{q}:lease
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  owner
-- ARGV[3..] per task: id, lease, progress (JSON)
-- Returns  per task: 1 kept, 0 gone, -1 stale
-- include: types
-- include: fence
local bad = check_types({ [KEYS[1]] = 'zset' })
if bad then
  return bad
end
local ids, replies = {}, {}
for i = 3, #ARGV, 3 do
  ids[#ids + 1] = ARGV[i]
end
local scores = lease_scores(KEYS[1], ids)
for n, id in ipairs(ids) do
  local at = 3 * n
  replies[n] = fence(ARGV[1] .. id, ARGV[2], scores[n], ARGV[at + 1])
  if replies[n] == 1 then
    redis.call('HSET', ARGV[1] .. id, 'qd_progress', ARGV[at + 2])
  end
end
return replies
