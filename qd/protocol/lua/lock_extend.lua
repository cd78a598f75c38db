-- lock_extend: keep a lock for longer, if it is still the owner's.
--
-- KEYS[1]  lock             STRING qd:lock:{name}
-- ARGV[1]  owner
-- ARGV[2]  ttl_ms           milliseconds
-- Returns  1 extended, 0 not the owner's any more
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
