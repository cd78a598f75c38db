-- forward: move due tasks of `scheduled` or `retry` to where they run from. At most `limit`.
--
-- KEYS[1]  due              ZSET   asynq:{q}:scheduled or asynq:{q}:retry
-- KEYS[2]  pending          LIST   asynq:{q}:pending
-- KEYS[3]  groups           SET    asynq:{q}:groups
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  group_prefix     asynq:{q}:g:
-- ARGV[3]  now              Unix seconds
-- ARGV[4]  now_ns           nanoseconds
-- ARGV[5]  limit
-- Returns  how many were moved, then the score of the next one ('' = none left)
-- flags: allow-oom
-- include: types
-- include: unlock
local bad = check_types({ [KEYS[1]] = 'zset', [KEYS[2]] = 'list', [KEYS[3]] = 'set' })
if bad then
  return bad
end
local ids = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, ARGV[5])
local pending = {}
--> local from = string.match(KEYS[1], '[^:]*$')
for _, id in ipairs(ids) do
  local task = ARGV[1] .. id
  local found = redis.pcall('HMGET', task, 'msg', 'group', 'qd_owner', 'qd_waits')
  if found.err then
    -- Not a task at all: the id leaves the set, and what stands under its key stays.
  elseif not found[1] then
    -- No bytes, no task (asynq would revive it as a ghost). The rest of it would keep the id taken.
    --> note_move(id, from, '', 'it has no message')
    drop_task(ARGV[1], id)
  else
    if found[3] then
      -- Left by a Go server that took the task from a worker of qd. Kept, the next Go server's lease
      -- would pass for qd's own.
      redis.call('HDEL', task, 'qd_owner')
    end
    if found[4] then
      redis.call('HDEL', task, 'qd_waits')
    end
    local group = found[2] or ''
    local joined = group ~= '' and redis.pcall('ZADD', ARGV[2] .. group, ARGV[3], id)
    if type(joined) == 'number' then
      -- asynq does not list the group again, and an unlisted group is never looked at.
      redis.call('SADD', KEYS[3], group)
      redis.call('HSET', task, 'state', 'aggregating')
      --> note_move(id, from, 'aggregating', 'its time has come')
    else
      -- Without a group, or its key holds something else: better handled alone than not at all.
      pending[#pending + 1] = id
      redis.call('HSET', task, 'state', 'pending', 'pending_since', ARGV[4])
      --> note_move(id, from, 'pending', 'its time has come')
    end
  end
end
for from = 1, #ids, 500 do
  redis.call('ZREM', KEYS[1], unpack(ids, from, math.min(from + 499, #ids)))
end
for from = 1, #pending, 500 do
  redis.call('LPUSH', KEYS[2], unpack(pending, from, math.min(from + 499, #pending)))
end
local next_due = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return { #ids, next_due[2] or '' }
