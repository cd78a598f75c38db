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
-- ARGV[4]  width            arguments per task: 2, or 3 if there are unique ones among them
-- ARGV[5..] per task: id, lease [, unique_key ('' = none)]
-- Returns  per task: 1 done, 0 gone, -1 stale
-- include: fence
-- include: claim
-- include: stats
-- include: unlock
local width = tonumber(ARGV[4])
local ended, tasks, count = {}, {}, 0
local ids, replies = claim(KEYS[1], KEYS[2], ARGV[1], ARGV[2], 5, width)
for n, id in ipairs(ids) do
  if replies[n] == 1 then
    count = count + 1
    ended[count], tasks[count] = id, ARGV[1] .. id
    --> note_move(id, 'active', '')
    if width == 3 then
      unlock(ARGV[3 * n + 4], id)
    end
  end
end
if count > 0 then
  redis.call('ZREM', KEYS[2], unpack(ended))
  redis.call('DEL', unpack(tasks))
  bump(KEYS[4], KEYS[3], count, ARGV[3])
end
return replies
