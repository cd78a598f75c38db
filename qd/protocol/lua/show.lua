-- show: keep a name on a list of those that are there, until a moment.
--
-- flags: allow-oom
-- KEYS[1]  list             ZSET   asynq:servers, asynq:workers or asynq:schedulers
-- ARGV[1]  until            Unix seconds
-- ARGV[2]  name             the key that tells of it
return redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
