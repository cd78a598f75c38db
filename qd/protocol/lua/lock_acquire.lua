-- lock_acquire: take a lock if it is free.
--
-- KEYS[1]  lock             STRING qd:lock:{name}
-- ARGV[1]  owner            made for this attempt; sent again, it gets the same answer
-- ARGV[2]  ttl_ms           milliseconds
-- Returns  1 taken, 0 somebody else has it
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
