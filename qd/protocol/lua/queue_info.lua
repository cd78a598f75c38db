-- queue_info: the sizes and counters of a queue, all of one moment. Groups are counted apart.
--
-- A key of a wrong type counts as empty and is named, so that one broken key hides nothing else.
--
-- KEYS[1]  pending          LIST   asynq:{q}:pending
-- KEYS[2]  active           LIST   asynq:{q}:active
-- KEYS[3]  lease            ZSET   asynq:{q}:lease
-- KEYS[4]  scheduled        ZSET   asynq:{q}:scheduled
-- KEYS[5]  retry            ZSET   asynq:{q}:retry
-- KEYS[6]  archived         ZSET   asynq:{q}:archived
-- KEYS[7]  completed        ZSET   asynq:{q}:completed
-- KEYS[8]  groups           SET    asynq:{q}:groups
-- KEYS[9]  paused           STRING asynq:{q}:paused
-- KEYS[10] processed        STRING asynq:{q}:processed
-- KEYS[11] processed_day    STRING asynq:{q}:processed:YYYY-MM-DD
-- KEYS[12] failed           STRING asynq:{q}:failed
-- KEYS[13] failed_day       STRING asynq:{q}:failed:YYYY-MM-DD
-- KEYS[14] paused_by        STRING qd:{q}:paused_by
-- KEYS[15] pressure         HASH   qd:{q}:pressure: level, refused, dropped
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  now              Unix seconds
-- Returns  pending, active, active with a live lease, scheduled, retry, archived, completed, groups,
--          paused ('' = not), processed, processed today, failed, failed today, pending_since of the
--          next task ('' = unknown), list of keys of a wrong type, who paused it ('' = unknown),
--          level of a bounded queue ('' = none), tasks refused, tasks dropped
local broken = {}
local function ask(kind, key, ...)
  local found = redis.call('TYPE', key).ok
  if found == 'none' then
    return false
  end
  if found ~= kind then
    broken[#broken + 1] = key .. ' is a ' .. found .. ', not a ' .. kind
    return false
  end
  return redis.call(...)
end
local function size(kind, key)
  local counts = { list = 'LLEN', zset = 'ZCARD', set = 'SCARD' }
  return ask(kind, key, counts[kind], key) or 0
end
local function value(key)
  return ask('string', key, 'GET', key) or ''
end
local since = ''
local oldest = ask('list', KEYS[1], 'LINDEX', KEYS[1], -1)
if oldest then
  local found = redis.pcall('HGET', ARGV[1] .. oldest, 'pending_since')
  since = type(found) == 'string' and found or ''
end
local pressure = ask('hash', KEYS[15], 'HMGET', KEYS[15], 'level', 'refused', 'dropped') or {}
return {
  oldest and redis.call('LLEN', KEYS[1]) or 0,
  size('list', KEYS[2]),
  ask('zset', KEYS[3], 'ZCOUNT', KEYS[3], '(' .. ARGV[2], '+inf') or 0,
  size('zset', KEYS[4]),
  size('zset', KEYS[5]),
  size('zset', KEYS[6]),
  size('zset', KEYS[7]),
  size('set', KEYS[8]),
  value(KEYS[9]),
  value(KEYS[10]),
  value(KEYS[11]),
  value(KEYS[12]),
  value(KEYS[13]),
  since,
  broken,
  value(KEYS[14]),
  pressure[1] or '',
  pressure[2] or 0,
  pressure[3] or 0,
}
