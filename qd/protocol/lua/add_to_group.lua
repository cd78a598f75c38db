-- add_to_group: let new tasks wait in a group until they are aggregated. A batch.
--
-- KEYS[1]  groups           SET    asynq:{q}:groups
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  group_prefix     asynq:{q}:g:
-- ARGV[3]  now              Unix seconds
-- ARGV[4..] per task: id, message, unique_key ('' = none), unique_ttl (seconds), group
-- Returns  per task: 1, or 'c' .. state (the id is in use), or 'd' .. holder (the lock is held)
-- include: types
-- include: refuse
local wanted = { [KEYS[1]] = 'set' }
for i = 4, #ARGV, 5 do
  wanted[ARGV[2] .. ARGV[i + 4]] = 'zset'
end
local bad = check_types(wanted)
if bad then
  return bad
end
local replies = {}
for i = 4, #ARGV, 5 do
  local id, unique_key, group = ARGV[i], ARGV[i + 2], ARGV[i + 4]
  local task = ARGV[1] .. id
  local reply = 1
  if redis.call('EXISTS', task) == 1 then
    reply = in_use(task)
  elseif unique_key ~= '' then
    if redis.call('SET', unique_key, id, 'NX', 'EX', ARGV[i + 3]) then
      -- asynq leaves the field out here, and the lock behind when the task is deleted.
      redis.call('HSET', task, 'msg', ARGV[i + 1], 'state', 'aggregating', 'group', group, 'unique_key', unique_key)
    else
      reply = locked(unique_key)
    end
  else
    redis.call('HSET', task, 'msg', ARGV[i + 1], 'state', 'aggregating', 'group', group)
  end
  if reply == 1 then
    redis.call('ZADD', ARGV[2] .. group, ARGV[3], id)
    redis.call('SADD', KEYS[1], group)
    --> note_move(id, '', 'aggregating', 'group ' .. group)
  end
  replies[#replies + 1] = reply
end
return replies
