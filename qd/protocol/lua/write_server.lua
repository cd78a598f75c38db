-- write_server: show a worker process, what it runs and which task types it knows, for a while.
--
-- flags: allow-oom
-- KEYS[1]  server           STRING asynq:servers:{host:pid:id}
-- KEYS[2]  workers          HASH   asynq:workers:{host:pid:id}
-- KEYS[3]  types            STRING qd:types:{host:pid:id}
-- KEYS[4]  birthmark        STRING qd:birthmarks:{host:pid:id}
-- ARGV[1]  ttl              seconds
-- ARGV[2]  info             ServerInfo
-- ARGV[3]  types            one a line
-- ARGV[4]  birthmark        '' if there is none
-- ARGV[5]  birthmark_ttl    seconds
-- ARGV[6..] per running task: id, WorkerInfo
redis.call('SETEX', KEYS[1], ARGV[1], ARGV[2])
redis.call('SETEX', KEYS[3], ARGV[1], ARGV[3])
redis.call('DEL', KEYS[2])
if ARGV[4] ~= '' then
  redis.call('SETEX', KEYS[4], ARGV[5], ARGV[4])
end
for i = 6, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
if #ARGV >= 6 then
  redis.call('EXPIRE', KEYS[2], ARGV[1])
end
return 1
