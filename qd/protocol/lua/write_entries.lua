-- write_entries: show a scheduler's periodic tasks, for a while.
--
-- flags: allow-oom
-- KEYS[1]  scheduler        LIST   asynq:schedulers:{id}
-- ARGV[1]  ttl              seconds
-- ARGV[2..] SchedulerEntry
redis.call('DEL', KEYS[1])
for i = 2, #ARGV do
  redis.call('LPUSH', KEYS[1], ARGV[i])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
