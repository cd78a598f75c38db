-- pressure: note how full a queue is, where nobody enqueues who would.
--
-- KEYS[1]  pending          LIST   asynq:{q}:pending
-- KEYS[2]  active           LIST   asynq:{q}:active
-- KEYS[3]  scheduled        ZSET   asynq:{q}:scheduled
-- KEYS[4]  retry            ZSET   asynq:{q}:retry
-- KEYS[5]  pressure         HASH   qd:{q}:pressure: level, since
-- ARGV[1]  warning          tasks
-- ARGV[2]  critical         tasks
-- ARGV[3]  margin           tasks
-- ARGV[4]  now              Unix seconds
-- Returns  size, level before, level now
-- include: types
-- include: pressure
local bad = check_types({
  [KEYS[1]] = 'list', [KEYS[2]] = 'list', [KEYS[3]] = 'zset', [KEYS[4]] = 'zset', [KEYS[5]] = 'hash',
})
if bad then
  return bad
end
local size = size_of(KEYS[1], KEYS[2], KEYS[3], KEYS[4])
local before = redis.call('HGET', KEYS[5], 'level') or 'ok'
local level = level_of(size, before, tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))
note_level(KEYS[5], before, level, ARGV[4])
return { size, before, level }
