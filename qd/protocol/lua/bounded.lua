-- bounded: take in new tasks, as another script does, until the queue is critical; refuse the others.
--
-- The other script is `take_in` here: enqueue, schedule or add_to_group.
--
-- KEYS[1]  pending          LIST   asynq:{q}:pending
-- KEYS[2]  active           LIST   asynq:{q}:active
-- KEYS[3]  scheduled        ZSET   asynq:{q}:scheduled
-- KEYS[4]  retry            ZSET   asynq:{q}:retry
-- KEYS[5]  pressure         HASH   qd:{q}:pressure: level, since, refused, dropped
-- KEYS[6]  the key of the other script
-- ARGV[1]  warning          tasks
-- ARGV[2]  critical         tasks
-- ARGV[3]  margin           tasks
-- ARGV[4]  field            that counts the tasks refused ('' = they will be tried again)
-- ARGV[5]  now              Unix seconds
-- ARGV[6]  head             how many arguments of the other script come before its tasks; the first of
--                           them is task_prefix
-- ARGV[7]  width            how many arguments a task has; the first of them is its id
-- ARGV[8..] the arguments of the other script
-- Returns  size, level before, level now, and per task: what the other script says, or 'f' (no room)
-- include: types
-- include: refuse
-- include: pressure
local bad = check_types({
  [KEYS[1]] = 'list', [KEYS[2]] = 'list', [KEYS[3]] = 'zset', [KEYS[4]] = 'zset', [KEYS[5]] = 'hash',
})
if bad then
  return bad
end
local warning, critical, margin = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local head, width = tonumber(ARGV[6]), tonumber(ARGV[7])
local size = size_of(KEYS[1], KEYS[2], KEYS[3], KEYS[4])
local before = redis.call('HGET', KEYS[5], 'level') or 'ok'
local level = level_of(size, before, warning, critical, margin)
local replies, at = {}, 8 + head
while at <= #ARGV and level ~= 'critical' do
  local part = { unpack(ARGV, 8, 7 + head) }
  local last = math.min(#ARGV, at + (critical - size) * width - 1)
  for i = at, last do
    part[#part + 1] = ARGV[i]
  end
  local answers = take_in({ KEYS[6] }, part)
  if answers.err then
    return answers
  end
  for i = 1, #answers do
    replies[#replies + 1] = answers[i]
  end
  -- Some may have been refused for another reason, and left their room to those that follow.
  size = size_of(KEYS[1], KEYS[2], KEYS[3], KEYS[4])
  level = level_of(size, level, warning, critical, margin)
  at = last + 1
end
local refused = 0
for i = at, #ARGV, width do
  local task = ARGV[8] .. ARGV[i]
  if redis.call('EXISTS', task) == 1 then
    -- Maybe this very task, sent again after its answer was lost.
    replies[#replies + 1] = in_use(task)
  else
    replies[#replies + 1] = 'f'
    refused = refused + 1
  end
end
if refused > 0 and ARGV[4] ~= '' then
  redis.call('HINCRBY', KEYS[5], ARGV[4], refused)
end
note_level(KEYS[5], before, level, ARGV[5])
return { size, before, level, replies }
