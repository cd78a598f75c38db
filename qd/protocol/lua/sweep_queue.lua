-- sweep_queue: delete what a removed queue has left; part of a walk over all keys of the node.
--
-- Hashes that no container lists, locks whose holder is gone, counters, the timeline. A task that came in since is
-- listed, and stays.
--
-- KEYS[1]  pending          LIST   asynq:{q}:pending
-- KEYS[2]  active           LIST   asynq:{q}:active
-- KEYS[3]  aggregation_sets ZSET   asynq:{q}:aggregation_sets
-- ARGV[1]  prefix           asynq:{q}:
-- ARGV[2]  pattern          of asynq's and qd's keys of the queue
-- ARGV[3]  cursor           of SCAN; '0' = begin
-- ARGV[4]  count            about how many keys to look at
-- ARGV[5]  events           qd:{q}:events
-- Returns  the next cursor ('0' = the end), then how many keys were deleted
-- include: unlock
local tasks, locks = ARGV[1] .. 't:', ARGV[1] .. 'unique:'

local function begins(key, with)
  return string.sub(key, 1, #with) == with
end

local function found(reply)
  return reply and not (type(reply) == 'table' and reply.err)
end

local function listed(id)
  local task = redis.pcall('HMGET', tasks .. id, 'state', 'group')
  if task.err or not task[1] then
    return false
  end
  if task[1] == 'pending' or task[1] == 'active' then
    return found(redis.pcall('LPOS', task[1] == 'pending' and KEYS[1] or KEYS[2], id))
  end
  if task[1] ~= 'aggregating' then
    return found(redis.pcall('ZSCORE', ARGV[1] .. task[1], id))
  end
  if found(redis.pcall('ZSCORE', ARGV[1] .. 'g:' .. (task[2] or ''), id)) then
    return true
  end
  local sets = redis.pcall('ZRANGE', KEYS[3], 0, -1)
  for _, set in ipairs(sets.err and {} or sets) do
    if found(redis.pcall('ZSCORE', set, id)) then
      return true
    end
  end
  return false
end

local page = redis.call('SCAN', ARGV[3], 'MATCH', ARGV[2], 'COUNT', ARGV[4])
local deleted = 0
for _, key in ipairs(page[2]) do
  if begins(key, tasks) then
    local id = string.sub(key, #tasks + 1)
    if not listed(id) then
      drop_task(tasks, id)
      deleted = deleted + 1
    end
  elseif begins(key, locks) then
    local holder = redis.pcall('GET', key)
    if type(holder) ~= 'string' or redis.call('EXISTS', tasks .. holder) == 0 then
      deleted = deleted + redis.call('DEL', key)
    end
  elseif begins(key, ARGV[1] .. 'processed') or begins(key, ARGV[1] .. 'failed') or begins(key, ARGV[5]) then
    deleted = deleted + redis.call('DEL', key)
  end
end
return { page[1], deleted }
