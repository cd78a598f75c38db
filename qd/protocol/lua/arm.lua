-- arm: read what a waiting worker wants to be told about (with CLIENT TRACKING switched on).
--
-- KEYS[1]  paused           STRING asynq:{q}:paused
-- KEYS[2]  pending          LIST   asynq:{q}:pending
-- Returns  number of tasks that could be taken now; 0 when paused
-- Both keys are read in any case: only what was read is tracked.
local paused = redis.call('EXISTS', KEYS[1])
local waiting = redis.call('LLEN', KEYS[2])
return paused == 1 and 0 or waiting
