-- cron_begin: what is known of a periodic task; if nothing is, it begins now.
--
-- KEYS[1]  cron             HASH   qd:{q}:cron:<name>
-- ARGV[1]  now              Unix seconds
-- ARGV[2]  remember         seconds
-- Returns  the last tick that was decided, the last that was enqueued ('' = none)
if redis.call('HSETNX', KEYS[1], 'tick', ARGV[1]) == 1 then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
local known = redis.call('HMGET', KEYS[1], 'tick', 'fired')
return { known[1], known[2] or '' }
