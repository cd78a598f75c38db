-- lock_release: give a lock back, if it is still the owner's.
--
-- KEYS[1]  lock             STRING qd:lock:{name}
-- ARGV[1]  owner
-- Returns  1 released, 0 not the owner's any more
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
