-- cron_tick: enqueue the task of one tick, once, however many schedulers try.
--
-- KEYS[1]  cron             HASH   qd:{q}:cron:<name>: tick (the last that was decided), fired (the last
--                                  that was enqueued), task (its id), late (how much, in ms), paused
-- KEYS[2]  task             HASH   asynq:{q}:t:<id>
-- KEYS[3]  container        LIST   asynq:{q}:pending (or ZSET scheduled, g:<group>)
-- KEYS[4]  groups           SET    asynq:{q}:groups
-- ARGV[1]  tick             Unix seconds
-- ARGV[2]  remember         seconds
-- ARGV[3]  overlap          0 = not while the last task has not ended
-- ARGV[4]  task_prefix      asynq:{q}:t:
-- ARGV[5..12] the new task: state, id, message, unique_key, unique_ttl, score, group, now_ns
-- Returns  what was decided, and the last tick that was enqueued ('' = none). 1 enqueued, 0 this tick or a
--          later one was decided before, 2 the id is in use, 3 the lock is held, 4 the last task has
--          not ended, 5 paused
-- include: types
-- include: admit
local bad = check_types({ [KEYS[1]] = 'hash', [KEYS[3]] = container_type(ARGV[5]), [KEYS[4]] = 'set' })
if bad then
  return bad
end
local known = redis.call('HMGET', KEYS[1], 'tick', 'fired', 'task', 'paused')
local fired = known[2] or ''
if tonumber(ARGV[1]) <= (tonumber(known[1]) or -1) then
  return { 0, fired }
end
local decided
if known[4] then
  decided = 5
elseif ARGV[3] == '0' and known[3] then
  local state = redis.pcall('HGET', ARGV[4] .. known[3], 'state')
  if type(state) == 'string' and state ~= 'completed' and state ~= 'archived' then
    decided = 4
  end
end
decided = decided or admit(KEYS[2], KEYS[3], KEYS[4], { unpack(ARGV, 5) })
redis.call('HSET', KEYS[1], 'tick', ARGV[1])
if decided == 1 then
  fired = ARGV[1]
  local late = string.format('%d', ARGV[12] / 1e6 - fired * 1000)
  redis.call('HSET', KEYS[1], 'fired', fired, 'task', ARGV[6], 'late', late)
  --> note_move(ARGV[6], '', ARGV[5], 'its tick was due at ' .. fired, ARGV[5] == 'scheduled' and ARGV[10])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return { decided, fired }
