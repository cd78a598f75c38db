-- limit_renew: keep the slots of running tasks. A batch, each task fenced by its worker.
--
-- flags: allow-oom
-- KEYS[1]  held             HASH   qd:{limit:NAME}:held
-- ARGV[1]  prefix           qd:{limit:NAME}:
-- ARGV[2]  owner
-- ARGV[3..] per task: its key
-- Returns  how many were renewed
-- include: limit
local until_then, renewed = server_time() + SLOT, 0
for i = 3, #ARGV do
  local owner, key = string.match(redis.call('HGET', KEYS[1], ARGV[i]) or '', '^(%S+) (.*)$')
  if owner == ARGV[2] then
    redis.call('ZADD', ARGV[1] .. 'in:' .. key, until_then, ARGV[i])
    renewed = renewed + 1
  end
end
return renewed
