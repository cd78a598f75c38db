-- delete_tasks: delete tasks that are not running, with their locks. A batch.
--
-- An id whose hash is gone is taken out of its container as well.
--
-- KEYS[1]  source           LIST   asynq:{q}:pending (or ZSET scheduled, retry, archived, completed, g:<group>)
-- KEYS[2]  groups           SET    asynq:{q}:groups
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  state            the state in which the tasks must be
-- ARGV[3]  group            '' = the source is no group
-- ARGV[4..] per task: id, unique_key (a lock that the hash does not name; '' = none)
-- Returns  per task: 1 deleted, 0 it was not there at all, -1 in another state, -2 not listed
-- include: types
-- include: pick
-- include: unlock
local kind = ARGV[2] == 'pending' and 'list' or 'zset'
local bad = check_types({ [KEYS[1]] = kind, [KEYS[2]] = 'set' })
if bad then
  return bad
end
local replies = {}
for i = 4, #ARGV, 2 do
  local id = ARGV[i]
  local reply = pick(ARGV[1], KEYS[1], ARGV[2], id, '')
  if reply == 1 then
    take(KEYS[1], ARGV[2], id)
    unlock(ARGV[i + 1], id)
    --> note_move(id, ARGV[2], '')
    drop_task(ARGV[1], id)
  elseif reply == 0 then
    reply = take(KEYS[1], ARGV[2], id)
  end
  replies[#replies + 1] = reply
end
close_group(KEYS[1], KEYS[2], ARGV[3])
return replies
