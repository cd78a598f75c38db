-- write_entries: show a scheduler's periodic tasks, for a while.
--
-- flags: allow-oom
-- KEYS[1]  scheduler        LIST   asynq:schedulers:{id}
-- KEYS[2]  documents        LIST   qd:schedulers:{id}
-- ARGV[1]  ttl              seconds
-- ARGV[2]  count            how many of the others are SchedulerEntries
-- ARGV[3..] SchedulerEntry ..., then the same tasks in qd's own form
redis.call('DEL', KEYS[1], KEYS[2])
for i = 3, #ARGV do
  redis.call('LPUSH', i - 2 <= tonumber(ARGV[2]) and KEYS[1] or KEYS[2], ARGV[i])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[1])
return 1
