-- find_place: how many tasks of the line are taken before this one.
--
-- KEYS[1]  pending          LIST   asynq:{q}:pending
-- ARGV[1]  id
-- ARGV[2]  most             how far to look from the tail, where the next task is
-- Returns  length of the line, then how many are ahead (-1 = not among the first)
local place = redis.call('LPOS', KEYS[1], ARGV[1], 'RANK', -1, 'MAXLEN', ARGV[2])
local length = redis.call('LLEN', KEYS[1])
return { length, place and length - 1 - place or -1 }
