-- breaker_call: take tasks out of the line that will not come, and call the next ones.
--
-- flags: allow-oom
-- KEYS[1]  index            ZSET   qd:{breaker:NAME}:index (only names the node)
-- ARGV[1]  prefix           qd:{breaker:NAME}:
-- ARGV[2..8] failures, share, runs, window (seconds), open (seconds), tries, successes
-- ARGV[9]  close            1 = close the breaker of these keys first
-- ARGV[10..] per task: its key ('' = none), key of the breaker
-- Returns  nothing, changes: key, state before, state now; tasks that are called: their key, key of the breaker
-- include: breaker
local breaker = open_breaker(ARGV)
local touched = {}
for i = 10, #ARGV, 2 do
  local task, key = ARGV[i], ARGV[i + 1]
  redis.call('ZREM', breaker.prefix .. 'line:' .. key, task)
  touched[key] = true
end
for key in pairs(touched) do
  if ARGV[9] == '1' then
    local state = redis.call('HGET', breaker.prefix .. 'b:' .. key, 'state')
    if state then
      change(breaker, key, state, 'closed')
    else
      rest(breaker, key)
    end
  end
  call_waiting(breaker, key)
end
return { {}, breaker.changes, breaker.called }
