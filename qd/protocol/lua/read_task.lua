-- read_task: all that is known of one task, wherever it is.
--
-- KEYS[1]  scheduled        ZSET   asynq:{q}:scheduled
-- KEYS[2]  retry            ZSET   asynq:{q}:retry
-- KEYS[3]  archived         ZSET   asynq:{q}:archived
-- KEYS[4]  completed        ZSET   asynq:{q}:completed
-- KEYS[5]  lease            ZSET   asynq:{q}:lease
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  id
-- Returns  id, score, lease, exists (0 or 1), state, message, pending_since, unique_key, group, result,
--          owner, deaths, cause, waits, progress; nil for what is not there
-- include: describe
local function score(key)
  local found = redis.pcall('ZSCORE', key, ARGV[2])
  return type(found) == 'string' and found
end
local source = { scheduled = KEYS[1], retry = KEYS[2], archived = KEYS[3], completed = KEYS[4] }
local state = redis.pcall('HGET', ARGV[1] .. ARGV[2], 'state')
local key = type(state) == 'string' and source[state]
local task = describe(ARGV[1], ARGV[2], key and score(key), state == 'active' and score(KEYS[5]))
return task
