-- extend: renew the leases of running tasks. A batch, each task fenced.
--
-- flags: allow-oom
-- KEYS[1]  lease            ZSET   asynq:{q}:lease
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  owner
-- ARGV[3]  lease_until      Unix seconds
-- ARGV[4..] per task: id, lease
-- Returns  per task: 1 renewed, 0 gone, -1 stale
-- include: types
-- include: fence
local bad = check_types({ [KEYS[1]] = 'zset' })
if bad then
  return bad
end
local ids, replies, renewed = {}, {}, {}
for i = 4, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
end
local scores = lease_scores(KEYS[1], ids)
for n, id in ipairs(ids) do
  local at = 2 * n + 2
  replies[n] = fence(ARGV[1] .. id, ARGV[2], scores[n], ARGV[at + 1])
  if replies[n] == 1 then
    renewed[#renewed + 1] = ARGV[3]
    renewed[#renewed + 1] = id
  end
end
for from = 1, #renewed, 1000 do
  redis.call('ZADD', KEYS[1], unpack(renewed, from, math.min(from + 999, #renewed)))
end
return replies
