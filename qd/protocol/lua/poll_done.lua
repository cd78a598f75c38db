-- poll_done: end a task that waits as if it had succeeded; if it runs, let its run end as done (`heed`).
--
-- The first who says so counts: a result that was told before stays.
--
-- flags: allow-oom
-- KEYS[1]  pending          LIST   asynq:{q}:pending
-- KEYS[2]  scheduled        ZSET   asynq:{q}:scheduled
-- KEYS[3]  retry            ZSET   asynq:{q}:retry
-- KEYS[4]  completed        ZSET   asynq:{q}:completed
-- KEYS[5]  processed        STRING asynq:{q}:processed
-- KEYS[6]  processed_day    STRING asynq:{q}:processed:YYYY-MM-DD
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  id
-- ARGV[3]  digest           sha1 of the message that was read
-- ARGV[4]  unique_key       '' = none
-- ARGV[5]  keep_until       Unix seconds; 0 = nothing of it is kept
-- ARGV[6]  completed        fields of a message: when it was completed
-- ARGV[7]  result           '' = none, else '=' and its bytes
-- ARGV[8]  stats_expire_at  Unix seconds
-- Returns  1 it has ended, now or before; 2 it runs, and was told; 0 gone; -1 in a state in which it cannot
--          end so, -2 it is not listed, -3 its message has changed
-- include: types
-- include: stats
-- include: unlock
-- include: told
local task = ARGV[1] .. ARGV[2]
local bad = check_types({
  [task] = 'hash', [KEYS[1]] = 'list', [KEYS[2]] = 'zset', [KEYS[3]] = 'zset', [KEYS[4]] = 'zset',
})
if bad then
  return bad
end
local found = redis.call('HMGET', task, 'state', 'msg', 'qd_told')
local state = found[1]
if not state then
  return redis.call('EXISTS', task) == 0 and 0 or -1
end
if state == 'completed' then
  return 1
end
if state == 'active' then
  redis.call('HSETNX', task, 'qd_told', ARGV[7])
  return 2
end
local source = ({ pending = KEYS[1], scheduled = KEYS[2], retry = KEYS[3] })[state]
if not source then
  return -1
end
if redis.sha1hex(found[2] or '') ~= ARGV[3] then
  return -3
end
local removed
if state == 'pending' then
  removed = redis.call('LREM', source, -1, ARGV[2])
else
  removed = redis.call('ZREM', source, ARGV[2])
end
if removed == 0 then
  return -2
end
-- Told in a run that has died since.
local result = found[3] and found[3] ~= '' and found[3] or ARGV[7]
end_told(ARGV[1], ARGV[2], state, ARGV[4], KEYS[4], ARGV[5], ARGV[6], result)
bump(KEYS[6], KEYS[5], 1, ARGV[8])
return 1
