-- queue_memory: an estimate of the memory of a queue, from a sample of each container.
--
-- A sampled id whose hash is gone counts nothing; in asynq it makes the whole answer fail.
--
-- KEYS[1]  pending          LIST   asynq:{q}:pending
-- KEYS[2]  active           LIST   asynq:{q}:active
-- KEYS[3]  scheduled        ZSET   asynq:{q}:scheduled
-- KEYS[4]  retry            ZSET   asynq:{q}:retry
-- KEYS[5]  archived         ZSET   asynq:{q}:archived
-- KEYS[6]  completed        ZSET   asynq:{q}:completed
-- KEYS[7]  groups           SET    asynq:{q}:groups
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  group_prefix     asynq:{q}:g:
-- ARGV[3]  aggregating      how many tasks wait in all groups
-- ARGV[4]  sample           tasks per container
-- ARGV[5]  groups_sample    groups at most
-- Returns  bytes
local sample = tonumber(ARGV[4])

local function usage(key)
  return redis.call('MEMORY', 'USAGE', key) or 0
end

-- Total and number of the tasks that were looked at in a container, and how many it has.
local function look(key)
  local kind = redis.call('TYPE', key).ok
  local ids, size = {}, 0
  if kind == 'list' then
    ids, size = redis.call('LRANGE', key, 0, sample - 1), redis.call('LLEN', key)
  elseif kind == 'zset' then
    ids, size = redis.call('ZRANGE', key, 0, sample - 1), redis.call('ZCARD', key)
  end
  local total = 0
  for _, id in ipairs(ids) do
    total = total + usage(ARGV[1] .. id)
  end
  return total, #ids, size
end

local bytes = 0
for i = 1, 6 do
  local total, looked, size = look(KEYS[i])
  bytes = bytes + usage(KEYS[i])
  if looked > 0 then
    bytes = bytes + total / looked * size
  end
end
local names = {}
if redis.call('TYPE', KEYS[7]).ok == 'set' then
  names = redis.call('SRANDMEMBER', KEYS[7], ARGV[5])
end
local total, looked, held, seen = 0, 0, 0, 0
for _, name in ipairs(names) do
  local part, count, size = look(ARGV[2] .. name)
  total, looked, seen = total + part, looked + count, seen + size
  held = held + usage(ARGV[2] .. name)
end
if looked > 0 then
  bytes = bytes + (total / looked + held / seen) * tonumber(ARGV[3])
end
return math.floor(bytes + usage(KEYS[7]))
