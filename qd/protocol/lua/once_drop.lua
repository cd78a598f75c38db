-- once_drop: give up the claim on a side effect that did not happen.
--
-- flags: allow-oom
-- KEYS[1]  entry            HASH   qd:once:{key}
-- ARGV[1]  call             whose claim it is
-- Returns  1 given up, 0 it was somebody else's, or done
-- include: types
local bad = check_types({ [KEYS[1]] = 'hash' })
if bad then
  return bad
end
local found = redis.call('HMGET', KEYS[1], 'state', 'call')
if found[1] ~= 'begun' or found[2] ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
