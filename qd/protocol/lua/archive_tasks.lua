-- archive_tasks: move waiting or ended tasks to the dead-letter set, and trim it. A batch.
--
-- An id without a message only leaves its container. asynq trims without deleting the hashes, which
-- then stay for ever.
--
-- flags: allow-oom
-- KEYS[1]  source           LIST   asynq:{q}:pending (or ZSET scheduled, retry, completed, g:<group>)
-- KEYS[2]  archived         ZSET   asynq:{q}:archived
-- KEYS[3]  groups           SET    asynq:{q}:groups
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  state            the state in which the tasks must be
-- ARGV[3]  group            '' = the source is no group
-- ARGV[4]  now              Unix seconds
-- ARGV[5]  oldest           Unix seconds; entries up to here are trimmed
-- ARGV[6]  keep             entries at most
-- ARGV[7..] ids
-- Returns  per task: 1 archived, 0 the hash is gone, -1 in another state, -2 not listed
-- include: types
-- include: pick
-- include: unlock
-- include: trim
local kind = ARGV[2] == 'pending' and 'list' or 'zset'
local bad = check_types({ [KEYS[1]] = kind, [KEYS[2]] = 'zset', [KEYS[3]] = 'set' })
if bad then
  return bad
end
local replies, good = {}, 0
for i = 7, #ARGV do
  local reply = pick(ARGV[1], KEYS[1], ARGV[2], ARGV[i], '')
  if reply == 1 and redis.call('HEXISTS', ARGV[1] .. ARGV[i], 'msg') == 0 then
    reply = 0
  end
  replies[i - 6] = reply
  good = good + math.max(reply, 0)
end
-- Trimmed before the new ones come in, so that none of them is trimmed at once.
if good > 0 then
  trim_archived(ARGV[1], KEYS[2], ARGV[5], tonumber(ARGV[6]) - good)
end
for n, reply in ipairs(replies) do
  local id = ARGV[n + 6]
  local task = ARGV[1] .. id
  if reply >= 0 then
    take(KEYS[1], ARGV[2], id)
  end
  if reply == 1 then
    redis.call('ZADD', KEYS[2], ARGV[4], id)
    redis.call('HSET', task, 'state', 'archived')
    redis.call('HDEL', task, 'pending_since')
    --> note_move(id, ARGV[2], 'archived')
  elseif reply == 0 then
    --> note_move(id, ARGV[2], '', 'it has no message')
    redis.call('DEL', task)
  end
end
close_group(KEYS[1], KEYS[3], ARGV[3])
return replies
