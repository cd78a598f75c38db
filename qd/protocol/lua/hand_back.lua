-- hand_back: put back what a dead worker was holding, at the head of the line, no retry charged.
--
-- A task that was running when its worker died has that death counted; one that has done so too
-- often is archived as poison, and counted as a failure. A worker that somebody else killed says
-- little about its tasks: each is spared once.
--
-- flags: allow-oom
-- KEYS[1]  pending          LIST   asynq:{q}:pending
-- KEYS[2]  active           LIST   asynq:{q}:active
-- KEYS[3]  lease            ZSET   asynq:{q}:lease
-- KEYS[4]  archived         ZSET   asynq:{q}:archived
-- KEYS[5]  processed        STRING asynq:{q}:processed
-- KEYS[6]  processed_day    STRING asynq:{q}:processed:YYYY-MM-DD
-- KEYS[7]  failed           STRING asynq:{q}:failed
-- KEYS[8]  failed_day       STRING asynq:{q}:failed:YYYY-MM-DD
-- KEYS[9]  kills            ZSET   qd:{q}:kills
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  owner            the dead worker
-- ARGV[3]  now_ns           nanoseconds
-- ARGV[4]  now              Unix seconds
-- ARGV[5]  cause            how the worker died
-- ARGV[6]  deaths_max
-- ARGV[7]  latest           Unix seconds; a lease that ends later was not written by a worker of qd
-- ARGV[8]  failure          fields of a message: what went wrong, and when
-- ARGV[9]  stats_expire_at  Unix seconds
-- ARGV[10] killed           1 if somebody else killed the worker
-- ARGV[11] any              1 if it is not known which were running: any of them may have been
-- ARGV[12..] keys of the tasks that were running; the others were only held
-- Returns  ids put back, ids archived
-- include: types
-- include: stats
-- include: deaths
-- include: kills
local bad = check_types({ [KEYS[1]] = 'list', [KEYS[2]] = 'list', [KEYS[3]] = 'zset', [KEYS[4]] = 'zset', [KEYS[9]] = 'zset' })
if bad then
  return bad
end
local running, names = {}, {}
for i = 12, #ARGV do
  running[ARGV[i]] = true
  names[#names + 1] = ARGV[i]
end
local guilty = ARGV[10] == '1' and judge_kill(KEYS[9], ARGV[2], names, tonumber(ARGV[4]))
local back, poison = {}, {}
for _, id in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  local task = ARGV[1] .. id
  local found = redis.pcall('HMGET', task, 'qd_owner', 'state')
  -- A Go server that took the task over leaves the field of the owner before it in place.
  local lease = tonumber(redis.call('ZSCORE', KEYS[3], id) or 0)
  if not found.err and found[1] == ARGV[2] and found[2] == 'active' and lease <= tonumber(ARGV[7]) then
    redis.call('LREM', KEYS[2], 1, id)
    redis.call('ZREM', KEYS[3], id)
    redis.call('HDEL', task, 'qd_owner')
    local deaths = 0
    if ARGV[11] == '1' or running[task] then
      deaths = count_death(task, ARGV[5], ARGV[10] == '1')
    end
    local convicted = deaths > 0 and guilty and guilty(task)
    if convicted then
      -- The one that was forgiven counts after all.
      redis.pcall('HINCRBY', task, 'qd_deaths', 1)
    end
    if convicted or deaths >= tonumber(ARGV[6]) then
      redis.call('ZADD', KEYS[4], ARGV[4], id)
      -- Put behind the message: of a field that comes twice, the later one counts (protobuf docs:
      -- "Last One Wins").
      local message = redis.call('HGET', task, 'msg') or ''
      redis.call('HSET', task, 'state', 'archived', 'msg', message .. ARGV[8])
      poison[#poison + 1] = id
      --> note_move(id, 'active', 'archived', 'worker died: ' .. ARGV[5])
    else
      -- The active list has the latest first: pushed in this order, the oldest is the next to run.
      redis.call('RPUSH', KEYS[1], id)
      redis.call('HSET', task, 'state', 'pending', 'pending_since', ARGV[3])
      back[#back + 1] = id
      --> note_move(id, 'active', 'pending', 'worker died: ' .. ARGV[5])
    end
  end
end
bump(KEYS[6], KEYS[5], #poison, ARGV[9])
bump(KEYS[8], KEYS[7], #poison, ARGV[9])
return { back, poison }
