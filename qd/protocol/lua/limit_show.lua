-- limit_show: what goes on at a limit: who has slots, how many wait, per key. Changes nothing.
--
-- KEYS[1]  due              ZSET   qd:{limit:NAME}:due
-- KEYS[2]  held             HASH   qd:{limit:NAME}:held
-- KEYS[3]  set              HASH   qd:{limit:NAME}:set
-- ARGV[1]  prefix           qd:{limit:NAME}:
-- ARGV[2]  most             keys and slots shown
-- Returns  what was set by hand (flat), all keys with waiting tasks, tasks with a slot (flat: task,
--          worker, key), then per shown key: key, waiting, called, the first of the line
local held, slots, keys = redis.call('HGETALL', KEYS[2]), {}, {}
for i = 1, math.min(#held, 2 * ARGV[2]), 2 do
  local owner, key = string.match(held[i + 1], '^(%S+) (.*)$')
  slots[#slots + 1] = held[i]
  slots[#slots + 1] = owner or ''
  slots[#slots + 1] = key or ''
end
for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1)) do
  keys[#keys + 1] = key
  keys[#keys + 1] = redis.call('ZCARD', ARGV[1] .. 'line:' .. key)
  keys[#keys + 1] = redis.call('ZCARD', ARGV[1] .. 'called:' .. key)
  keys[#keys + 1] = redis.call('ZRANGE', ARGV[1] .. 'line:' .. key, 0, 0)[1] or ''
end
return { redis.call('HGETALL', KEYS[3]), redis.call('ZCARD', KEYS[1]), #held / 2, slots, keys }
