-- breaker_ask: may tasks start? One whose breaker is open stands in line. A batch.
--
-- The first of a line come back when the breaker is half-open, the next ones as much later as it would then
-- be open again; if it closes, all of them are called before. So however many wait, a few come at a time.
--
-- flags: allow-oom
-- KEYS[1]  index            ZSET   qd:{breaker:NAME}:index (only names the node)
-- ARGV[1]  prefix           qd:{breaker:NAME}:
-- ARGV[2..8] failures, share, runs, window (seconds), open (seconds), tries, successes
-- ARGV[9..] per task: its key, key of the breaker
-- Returns  per task: 0 it may start, 1 it may start as a try, -n ask again in n microseconds;
--          changes: key, state before, state now; tasks that are called: their key, key of the breaker
-- include: breaker
local breaker = open_breaker(ARGV)
local answers, seen = {}, {}
for i = 9, #ARGV, 2 do
  local task, key = ARGV[i], ARGV[i + 1]
  local line, try = breaker.prefix .. 'line:' .. key, breaker.prefix .. 'try:' .. key
  local state, since, ends = state_of(breaker, key)
  local answer = 0
  if state == 'closed' then
    redis.call('ZREM', line, task)
  elseif state == 'half-open' and redis.call('ZSCORE', try, task) then
    redis.call('ZADD', try, string.format('%.0f', breaker.now + TRY), task)
    answer = 1
  else
    redis.call('ZADD', line, 'NX', string.format('%.0f', breaker.now + i), task)
    local rank = redis.call('ZRANK', line, task)
    local free = state == 'half-open' and free_tries(breaker, key) or 0
    if free > 0 and (rank < free or breaker.now >= since + FIRST_COME) then
      redis.call('ZREM', line, task)
      redis.call('ZADD', try, string.format('%.0f', breaker.now + TRY), task)
      answer = 1
    else
      local turn = state == 'open' and ends or breaker.now + breaker.open
      local later = math.min(math.floor(rank / breaker.tries), 20) * breaker.open
      answer = -math.max(1, turn + later - breaker.now)
    end
    keep(breaker, key)
  end
  if not seen[key] and state == 'closed' and redis.call('EXISTS', line) == 1 then
    -- Whoever closed it died before all were called.
    seen[key] = true
    call_waiting(breaker, key)
  end
  answers[#answers + 1] = answer
end
return { answers, breaker.changes, breaker.called }
