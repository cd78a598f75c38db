-- lock_acquire: take a lock if it is free, or if it is still that of an owner who is known to be dead.
--
-- flags: allow-oom
-- KEYS[1]  lock             STRING qd:lock:{name}
-- ARGV[1]  owner            made for this attempt; sent again, it gets the same answer
-- ARGV[2]  ttl_ms           milliseconds
-- ARGV[3]  dead             the owner that may be replaced; '' = none
-- Returns  1 taken, 0 somebody else has it
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
local owner = redis.call('GET', KEYS[1])
if owner == ARGV[1] then
  return 1
end
if ARGV[3] ~= '' and owner == ARGV[3] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
return 0
