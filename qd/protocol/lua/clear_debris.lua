-- clear_debris: delete what a deleted queue has left, if it is still without a single task.
--
-- KEYS[1]  pending          LIST   asynq:{q}:pending
-- KEYS[2]  active           LIST   asynq:{q}:active
-- KEYS[3]  scheduled        ZSET   asynq:{q}:scheduled
-- KEYS[4]  retry            ZSET   asynq:{q}:retry
-- KEYS[5]  archived         ZSET   asynq:{q}:archived
-- KEYS[6]  completed        ZSET   asynq:{q}:completed
-- KEYS[7]  groups           SET    asynq:{q}:groups
-- KEYS[8]  aggregation_sets ZSET   asynq:{q}:aggregation_sets
-- ARGV[1..] keys to delete: counters, the mark of a pause
-- Returns  1 deleted, 0 there are tasks again, or nothing is left: nothing was done
if redis.call('EXISTS', unpack(KEYS)) > 0 then
  return 0
end
return math.min(redis.call('DEL', unpack(ARGV)), 1)
