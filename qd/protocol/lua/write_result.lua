-- write_result: store what a running task has to say so far. Fenced.
--
-- KEYS[1]  task             HASH   asynq:{q}:t:<id>
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- ARGV[1]  owner
-- ARGV[2]  result
-- ARGV[3]  id
-- ARGV[4]  lease
-- Returns  1 stored, 0 gone, -1 stale
-- include: types
-- include: fence
local bad = check_types({ [KEYS[1]] = 'hash', [KEYS[2]] = 'zset' })
if bad then
  return bad
end
local score = lease_scores(KEYS[2], { ARGV[3] })[1]
local mine = fence(KEYS[1], ARGV[1], score, ARGV[4])
if mine == 1 then
  redis.call('HSET', KEYS[1], 'result', ARGV[2])
end
return mine
