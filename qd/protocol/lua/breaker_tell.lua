-- breaker_tell: runs have ended; count how, open or close the breaker, call who can go. A batch.
--
-- While it is open nothing counts: those runs began before. While it is half-open its tries count alone.
--
-- flags: allow-oom
-- KEYS[1]  index            ZSET   qd:{breaker:NAME}:index (only names the node)
-- ARGV[1]  prefix           qd:{breaker:NAME}:
-- ARGV[2..8] failures, share, runs, window (seconds), open (seconds), tries, successes
-- ARGV[9..] per task: its key, key of the breaker, 1 success, 0 failure, -1 neither
-- Returns  nothing, changes: key, state before, state now; tasks that are called: their key, key of the breaker
-- include: breaker
local breaker = open_breaker(ARGV)

-- One more run of a closed breaker; true if that is one failure too many.
local function count(key, failed)
  local hash = breaker.prefix .. 'b:' .. key
  if breaker.share == 0 and not failed then
    if redis.call('EXISTS', hash) == 1 then
      rest(breaker, key)
    end
    return false
  end
  local in_a_row = 0
  if failed then
    in_a_row = redis.call('HINCRBY', hash, 'failures', 1)
  else
    redis.call('HDEL', hash, 'failures')
  end
  local share = 0
  if breaker.share > 0 then
    local begun = tonumber(redis.call('HGET', hash, 'window') or 0)
    if breaker.now - begun >= breaker.window then
      redis.call('HSET', hash, 'window', string.format('%.0f', breaker.now), 'runs', 0, 'failed', 0)
    end
    local runs = redis.call('HINCRBY', hash, 'runs', 1)
    local bad = redis.call('HINCRBY', hash, 'failed', failed and 1 or 0)
    share = runs >= breaker.runs and bad / runs or 0
  end
  keep(breaker, key)
  return breaker.failures > 0 and in_a_row >= breaker.failures
    or failed and breaker.share > 0 and share >= breaker.share
end

local touched = {}
for i = 9, #ARGV, 3 do
  local task, key, how = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local state = state_of(breaker, key)
  if state == 'closed' and how ~= '-1' then
    if count(key, how == '0') then
      change(breaker, key, 'closed', 'open')
    end
  elseif state == 'half-open' and redis.call('ZREM', breaker.prefix .. 'try:' .. key, task) == 1 then
    touched[key] = true
    if how == '0' then
      change(breaker, key, 'half-open', 'open')
    elseif how == '1' then
      local well = redis.call('HINCRBY', breaker.prefix .. 'b:' .. key, 'successes', 1)
      if well >= breaker.successes then
        change(breaker, key, 'half-open', 'closed')
      end
    end
  end
end
for key in pairs(touched) do
  call_waiting(breaker, key)
end
return { {}, breaker.changes, breaker.called }
