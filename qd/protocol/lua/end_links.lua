-- end_links: end links of flows, as another script ends tasks, and note that their flows must hear of it.
--
-- The other script is `take_in` here: complete, archive or done.
--
-- flags: allow-oom
-- KEYS[1]  ended_links      ZSET   qd:{q}:ended_links
-- KEYS[..] those of the other script
-- ARGV[1]  now              Unix seconds
-- ARGV[2]  head             how many arguments of the other script come before its tasks
-- ARGV[3]  width            how many arguments a task has; the first of them is its id
-- ARGV[4..] the arguments of the other script
-- Returns  what the other script says, which is per task: 1 ended, or less
-- include: types
local bad = check_types({ [KEYS[1]] = 'zset' })
if bad then
  return bad
end
local replies = take_in({ unpack(KEYS, 2) }, { unpack(ARGV, 4) })
if replies.err then
  return replies
end
local task = 0
for i = 4 + tonumber(ARGV[2]), #ARGV, tonumber(ARGV[3]) do
  task = task + 1
  if replies[task] == 1 then
    redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i])
  end
end
return replies
