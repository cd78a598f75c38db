-- run_tasks: let tasks run now, out of scheduled, retry, archived, completed or a group. A batch.
--
-- An id without a message only leaves the set: there is nothing to run. asynq leaves pending_since
-- out here, and shows a latency of 0 until the task is taken.
--
-- flags: allow-oom
-- KEYS[1]  source           ZSET   asynq:{q}:scheduled, retry, archived, completed or g:<group>
-- KEYS[2]  pending          LIST   asynq:{q}:pending
-- KEYS[3]  groups           SET    asynq:{q}:groups
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  state            the state in which the tasks must be
-- ARGV[3]  group            '' = the source is no group
-- ARGV[4]  now_ns           nanoseconds
-- ARGV[5..] per task: id, sha1 of the message that was read ('' = whatever it is), message ('' = keep)
-- Returns  per task: 1 moved, 0 the hash is gone, -1 in another state, -2 not listed, -3 changed
-- include: types
-- include: pick
local bad = check_types({ [KEYS[1]] = 'zset', [KEYS[2]] = 'list', [KEYS[3]] = 'set' })
if bad then
  return bad
end
local replies, moved = {}, {}
for i = 5, #ARGV, 3 do
  local id = ARGV[i]
  local task = ARGV[1] .. id
  local reply = pick(ARGV[1], KEYS[1], ARGV[2], id, ARGV[i + 1])
  if reply == 1 and redis.call('HEXISTS', task, 'msg') == 0 then
    --> note_move(id, ARGV[2], '', 'it has no message')
    redis.call('DEL', task)
    reply = 0
  end
  if reply >= 0 then
    take(KEYS[1], ARGV[2], id)
  end
  if reply == 1 then
    if ARGV[i + 2] ~= '' then
      redis.call('HSET', task, 'msg', ARGV[i + 2])
    end
    redis.call('HSET', task, 'state', 'pending', 'pending_since', ARGV[4])
    redis.call('HDEL', task, 'qd_owner', 'qd_deaths', 'qd_spared', 'qd_cause', 'qd_waits')
    if ARGV[2] == 'archived' then
      redis.call('HDEL', task, 'qd_told')
    end
    moved[#moved + 1] = id
    --> note_move(id, ARGV[2], 'pending')
  end
  replies[#replies + 1] = reply
end
for from = 1, #moved, 500 do
  redis.call('LPUSH', KEYS[2], unpack(moved, from, math.min(from + 499, #moved)))
end
close_group(KEYS[1], KEYS[3], ARGV[3])
return replies
