-- aggregate: enqueue the one task that a staged set became, and delete the set's tasks, in one step.
--
-- flags: allow-oom
-- KEYS[1]  set              ZSET   asynq:{q}:g:<group>:<set id>
-- KEYS[2]  aggregation_sets ZSET   asynq:{q}:aggregation_sets
-- KEYS[3]  task             HASH   asynq:{q}:t:<id> of the new task
-- KEYS[4]  container        LIST   asynq:{q}:pending (or ZSET scheduled, g:<group>) of the new task
-- KEYS[5]  groups           SET    asynq:{q}:groups
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2..9] the new task: state, id, message, unique_key, unique_ttl, score, group, now_ns
-- Returns  1 done, 0 the set is gone (put back, or aggregated before), 2 the id is in use, 3 the lock is held
-- include: types
-- include: unlock
-- include: admit
local bad = check_types({
  [KEYS[1]] = 'zset', [KEYS[2]] = 'zset', [KEYS[4]] = container_type(ARGV[2]), [KEYS[5]] = 'set',
})
if bad then
  return bad
end
if not redis.call('ZSCORE', KEYS[2], KEYS[1]) then
  return 0
end
local taken = admit(KEYS[3], KEYS[4], KEYS[5], { unpack(ARGV, 2) })
if taken ~= 1 then
  return taken
end
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  --> note_move(id, 'aggregating', '', 'became part of ' .. ARGV[3])
  drop_task(ARGV[1], id)
end
--> note_move(ARGV[3], '', ARGV[2], 'made of ' .. redis.call('ZCARD', KEYS[1]) .. ' tasks', ARGV[2] == 'scheduled' and ARGV[7])
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], KEYS[1])
return 1
