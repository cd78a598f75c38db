-- What a breaker has under its prefix, times in microseconds of the server's clock:
--   index       ZSET    keys that are not at rest -> until when their state is kept
--   b:<key>     HASH    state (open or half-open; closed if there is none), since, until; failures (in a row),
--                       successes (since it is half-open); window (its begin), runs, failed
--   try:<key>   ZSET    tasks that try whether it works again -> when such a try is lost unless renewed
--   line:<key>  ZSET    tasks that wait -> when they came
-- A key that is closed and has no failures has nothing here.
--
-- A try is kept for 20 s, five more than the lease of a task. For two seconds after the breaker became
-- half-open the tries are for the first of the line.
local TRY, FIRST_COME = 20e6, 2e6

-- `given`: prefix, failures in a row, share of failures, runs from which on it holds, window, open (both in
-- seconds), tries at a time, successes.
local function open_breaker(given)
  local clock = redis.call('TIME')
  return {
    prefix = given[1],
    failures = tonumber(given[2]),
    share = tonumber(given[3]),
    runs = tonumber(given[4]),
    window = tonumber(given[5]) * 1e6,
    open = tonumber(given[6]) * 1e6,
    tries = tonumber(given[7]),
    successes = tonumber(given[8]),
    now = clock[1] * 1e6 + clock[2],
    changes = {},
    called = {},
  }
end

-- What nobody has touched for an hour, or ten times the longest wait, is forgotten.
local function keep(breaker, key)
  local ms = math.max(3600e3, breaker.open / 100, breaker.window / 100)
  for _, part in ipairs({ 'b:', 'try:', 'line:' }) do
    redis.call('PEXPIRE', breaker.prefix .. part .. key, string.format('%.0f', ms))
  end
  redis.call('ZADD', breaker.prefix .. 'index', string.format('%.0f', breaker.now + ms * 1000), key)
  redis.call('ZREMRANGEBYSCORE', breaker.prefix .. 'index', '-inf', string.format('(%.0f', breaker.now))
end

local function rest(breaker, key)
  redis.call('DEL', breaker.prefix .. 'b:' .. key, breaker.prefix .. 'try:' .. key)
  redis.call('ZREM', breaker.prefix .. 'index', key)
end

local function change(breaker, key, before, after)
  local hash = breaker.prefix .. 'b:' .. key
  for _, part in ipairs({ key, before, after }) do
    breaker.changes[#breaker.changes + 1] = part
  end
  if after == 'closed' then
    rest(breaker, key)
    return
  end
  local now = string.format('%.0f', breaker.now)
  redis.call('HSET', hash, 'state', after, 'since', now)
  redis.call('HDEL', hash, 'successes', 'window', 'runs', 'failed')
  if after == 'open' then
    redis.call('HSET', hash, 'until', string.format('%.0f', breaker.now + breaker.open))
    redis.call('DEL', breaker.prefix .. 'try:' .. key)
  end
  keep(breaker, key)
end

-- The state of a key and since when. One that was open long enough is half-open.
local function state_of(breaker, key)
  local found = redis.call('HMGET', breaker.prefix .. 'b:' .. key, 'state', 'since', 'until')
  local state, since = found[1] or 'closed', tonumber(found[2] or 0)
  if state == 'open' and breaker.now >= tonumber(found[3]) then
    change(breaker, key, 'open', 'half-open')
    state, since = 'half-open', breaker.now
  end
  return state, since, tonumber(found[3] or 0)
end

local function free_tries(breaker, key)
  local try = breaker.prefix .. 'try:' .. key
  redis.call('ZREMRANGEBYSCORE', try, '-inf', string.format('%.0f', breaker.now))
  return breaker.tries - redis.call('ZCARD', try)
end

-- Call those who can go: all of them (a hundred at a time) when it is closed, and as many as there are free
-- tries when it is half-open. These keep their place until they come.
local function call_waiting(breaker, key)
  local state, line = state_of(breaker, key), breaker.prefix .. 'line:' .. key
  local found = {}
  if state == 'closed' then
    found = redis.call('ZRANGE', line, 0, 99)
    redis.call('ZREMRANGEBYRANK', line, 0, 99)
  elseif state == 'half-open' then
    local free = free_tries(breaker, key)
    found = free > 0 and redis.call('ZRANGE', line, 0, free - 1) or {}
  end
  for _, task in ipairs(found) do
    breaker.called[#breaker.called + 1] = task
    breaker.called[#breaker.called + 1] = key
  end
end
