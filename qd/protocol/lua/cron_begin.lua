-- cron_begin: what is known of a periodic task; if nothing is, its ticks count from now on.
--
-- KEYS[1]  cron             HASH   qd:{q}:cron:<name>
-- ARGV[1]  now              Unix seconds
-- ARGV[2]  remember         seconds
-- ARGV[3]  since            Unix seconds: its ticks count from here on at the earliest ('' = no limit)
-- Returns  the last tick that was decided, the last that was enqueued ('' = none)
local known = redis.call('HMGET', KEYS[1], 'tick', 'fired')
local begin = ARGV[3] ~= '' and ARGV[3] or ARGV[1]
if not known[1] or (ARGV[3] ~= '' and tonumber(known[1]) < tonumber(ARGV[3])) then
  redis.call('HSET', KEYS[1], 'tick', begin)
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  known[1] = begin
end
return { known[1], known[2] or '' }
