-- delete_expired: delete completed tasks whose retention is over, with hash and lock. At most `limit`.
--
-- KEYS[1]  completed        ZSET   asynq:{q}:completed
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  until            Unix seconds; scores up to here are over
-- ARGV[3]  limit
-- Returns  how many ids left the set
-- include: types
-- include: unlock
local bad = check_types({ [KEYS[1]] = 'zset' })
if bad then
  return bad
end
local ids = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3])
for _, id in ipairs(ids) do
  local state = redis.pcall('HGET', ARGV[1] .. id, 'state')
  -- A task that says it is elsewhere is not deleted for standing here too.
  if state == 'completed' or not state then
    --> note_move(id, 'completed', '', 'its retention is over')
    drop_task(ARGV[1], id)
  end
end
for from = 1, #ids, 500 do
  redis.call('ZREM', KEYS[1], unpack(ids, from, math.min(from + 499, #ids)))
end
return #ids
