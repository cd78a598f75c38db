-- remove_queue: delete the containers of a queue in one step, with the few tasks they may still hold.
--
-- With a running task, or with more tasks than `limit`, nothing is changed.
--
-- KEYS[1]  pending          LIST   asynq:{q}:pending
-- KEYS[2]  active           LIST   asynq:{q}:active
-- KEYS[3]  scheduled        ZSET   asynq:{q}:scheduled
-- KEYS[4]  retry            ZSET   asynq:{q}:retry
-- KEYS[5]  archived         ZSET   asynq:{q}:archived
-- KEYS[6]  completed        ZSET   asynq:{q}:completed
-- KEYS[7]  groups           SET    asynq:{q}:groups
-- KEYS[8]  aggregation_sets ZSET   asynq:{q}:aggregation_sets
-- KEYS[9]  lease            ZSET   asynq:{q}:lease
-- KEYS[10] paused           STRING asynq:{q}:paused
-- KEYS[11] paused_by        STRING qd:{q}:paused_by
-- KEYS[12] pressure         HASH   qd:{q}:pressure
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  group_prefix     asynq:{q}:g:
-- ARGV[3]  limit            0 = only if there are no tasks
-- Returns  1 deleted or 0 not, then how many tasks are (or were) pending, active, scheduled, retry,
--          archived, completed, aggregating
-- include: types
-- include: unlock
local sets = { KEYS[3], KEYS[4], KEYS[5], KEYS[6] }
for _, name in ipairs(redis.call('SMEMBERS', KEYS[7])) do
  sets[#sets + 1] = ARGV[2] .. name
end
for _, set in ipairs(redis.call('ZRANGE', KEYS[8], 0, -1)) do
  sets[#sets + 1] = set
end
local wanted = { [KEYS[1]] = 'list', [KEYS[2]] = 'list' }
for _, set in ipairs(sets) do
  wanted[set] = 'zset'
end
local bad = check_types(wanted)
if bad then
  return bad
end
local sizes = { 0, redis.call('LLEN', KEYS[1]), redis.call('LLEN', KEYS[2]), 0, 0, 0, 0, 0 }
local total = sizes[2]
for i, set in ipairs(sets) do
  local at, size = math.min(i + 3, 8), redis.call('ZCARD', set)
  sizes[at] = sizes[at] + size
  total = total + size
end
if sizes[3] > 0 or total > tonumber(ARGV[3]) then
  return sizes
end
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  drop_task(ARGV[1], id)
end
for _, set in ipairs(sets) do
  for _, id in ipairs(redis.call('ZRANGE', set, 0, -1)) do
    drop_task(ARGV[1], id)
  end
  redis.call('DEL', set)
end
redis.call('DEL', unpack(KEYS))
sizes[1] = 1
return sizes
