-- breaker_show: the keys of a breaker that are not at rest. Changes nothing.
--
-- KEYS[1]  index            ZSET   qd:{breaker:NAME}:index
-- ARGV[1]  prefix           qd:{breaker:NAME}:
-- ARGV[2]  most             keys
-- Returns  per key: key, state ('' = closed), since, until (microseconds, '' = unknown), failures in a row,
--          successes, tries that run, tasks that wait, runs and failures of the window
local clock = redis.call('TIME')
local now = clock[1] * 1e6 + clock[2]
local shown = {}
for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1)) do
  local found = redis.call('HMGET', ARGV[1] .. 'b:' .. key,
    'state', 'since', 'until', 'failures', 'successes', 'runs', 'failed')
  local waiting = redis.call('ZCARD', ARGV[1] .. 'line:' .. key)
  local tries = redis.call('ZCOUNT', ARGV[1] .. 'try:' .. key, string.format('(%.0f', now), '+inf')
  if found[1] or found[4] or found[6] or waiting > 0 then
    for _, one in ipairs({
      key, found[1] or '', found[2] or '', found[3] or '', found[4] or 0, found[5] or 0,
      tries, waiting, found[6] or 0, found[7] or 0,
    }) do
      shown[#shown + 1] = one
    end
  end
end
return shown
