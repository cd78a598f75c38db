-- mend_lock: release a uniqueness lock that no task holds.
--
-- KEYS[1]  lock             STRING asynq:{q}:unique:<type>:<md5>
-- KEYS[2]  task             HASH   asynq:{q}:t:<id of the holder>
-- ARGV[1]  holder
-- ARGV[2]  digest           sha1 of the holder's message, which does not name the lock ('' = it has none)
-- Returns  1 released, 0 it has changed: nothing was done
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local found = redis.pcall('HMGET', KEYS[2], 'unique_key', 'msg')
if found.err or found[1] == KEYS[1] or (found[2] and redis.sha1hex(found[2]) or '') ~= ARGV[2] then
  return 0
end
return redis.call('DEL', KEYS[1])
