-- write_server: show a worker process and what it runs, for a while.
--
-- flags: allow-oom
-- KEYS[1]  server           STRING asynq:servers:{host:pid:id}
-- KEYS[2]  workers          HASH   asynq:workers:{host:pid:id}
-- ARGV[1]  ttl              seconds
-- ARGV[2]  info             ServerInfo
-- ARGV[3..] per running task: id, WorkerInfo
redis.call('SETEX', KEYS[1], ARGV[1], ARGV[2])
redis.call('DEL', KEYS[2])
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
redis.call('EXPIRE', KEYS[2], ARGV[1])
return 1
