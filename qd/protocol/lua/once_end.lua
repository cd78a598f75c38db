-- once_end: note that a side effect has happened, and what it left. The first to say so is believed.
--
-- Not fenced: whoever says so has done it, even if its claim was taken over meanwhile.
--
-- flags: allow-oom
-- KEYS[1]  entry            HASH   qd:once:{key}
-- ARGV[1]  result           JSON, '' = none
-- ARGV[2]  keep             milliseconds
-- Returns  the result that is kept
-- include: types
local bad = check_types({ [KEYS[1]] = 'hash' })
if bad then
  return bad
end
local found = redis.call('HMGET', KEYS[1], 'state', 'result')
if found[1] == 'done' then
  return found[2] or ''
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'state', 'done', 'result', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return ARGV[1]
