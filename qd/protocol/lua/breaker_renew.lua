-- breaker_renew: keep the tries of tasks that still run.
--
-- flags: allow-oom
-- KEYS[1]  index            ZSET   qd:{breaker:NAME}:index (only names the node)
-- ARGV[1]  prefix           qd:{breaker:NAME}:
-- ARGV[2..] per task: its key, key of the breaker
-- Returns  how many were there to be kept
local now = redis.call('TIME')
local kept = 0
for i = 2, #ARGV, 2 do
  local try = ARGV[1] .. 'try:' .. ARGV[i + 1]
  if redis.call('ZSCORE', try, ARGV[i]) then
    redis.call('ZADD', try, string.format('%.0f', (now[1] + 20) * 1e6), ARGV[i])
    kept = kept + 1
  end
end
return kept
