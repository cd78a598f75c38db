-- set_aside: give a key that stands in a queue's way, because it holds the wrong thing, another name.
--
-- KEYS[1]  key              any    asynq:{q}:...
-- KEYS[2]  aside            any    qd:{q}:set-aside:...
-- ARGV[1]  type             what it was seen to be
-- ARGV[2]  counter          1 = it should be a counter, and must still be none
-- Returns  1 done, 0 it has changed: nothing was done
if redis.call('TYPE', KEYS[1]).ok ~= ARGV[1] then
  return 0
end
local value = ARGV[1] == 'string' and ARGV[2] == '1' and redis.call('GET', KEYS[1])
if value and #value < 30 and string.match(value, '^-?%d+$') then
  return 0
end
redis.call('RENAME', KEYS[1], KEYS[2])
return 1
