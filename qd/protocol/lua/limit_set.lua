-- limit_set: set parts of a limit by hand, or forget what was set so. Everybody goes by it at once.
--
-- KEYS[1]  due              ZSET   qd:{limit:NAME}:due
-- KEYS[2]  set              HASH   qd:{limit:NAME}:set
-- ARGV[1..] pairs: rate, burst or slots, and its value; none = forget what was set
-- Returns  how many keys of the limit have tasks that wait
if #ARGV == 0 then
  redis.call('DEL', KEYS[2])
else
  redis.call('HSET', KEYS[2], unpack(ARGV))
end
-- Who waits is looked at anew: there may be room now.
local waiting = redis.call('ZRANGE', KEYS[1], 0, -1)
for _, key in ipairs(waiting) do
  redis.call('ZADD', KEYS[1], 0, key)
end
return #waiting
