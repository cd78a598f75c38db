-- doctor_tasks: for each task hash, whether it is where it says, and its message.
--
-- A list is long to search, so tasks that say they are in one are only told apart.
--
-- KEYS[1]  aggregation_sets ZSET   asynq:{q}:aggregation_sets
-- ARGV[1]  prefix           asynq:{q}:
-- ARGV[2]  bytes            stop when about so much was read; at least one task is
-- ARGV[3..] ids
-- Returns  flat list, shorter than asked for if it stopped: f fine, s suspect, p says it is pending,
--          a says it is active; then the message ('' = none)
local sets = redis.pcall('ZRANGE', KEYS[1], 0, 999)
if sets.err then
  sets = {}
end
local containers = { scheduled = true, retry = true, archived = true, completed = true }

local function in_set(key, id)
  return type(redis.pcall('ZSCORE', key, id)) == 'string'
end

local function in_group(group, id)
  if in_set(ARGV[1] .. 'g:' .. group, id) then
    return true
  end
  for _, key in ipairs(sets) do
    if in_set(key, id) then
      return true
    end
  end
  return false
end

local out, read = {}, 0
for i = 3, #ARGV do
  local id, verdict, message = ARGV[i], 's', ''
  local task = ARGV[1] .. 't:' .. id
  local found = redis.pcall('HMGET', task, 'state', 'msg', 'group')
  if not found.err then
    local state = found[1]
    message = found[2] or ''
    if not found[2] then
      verdict = redis.call('EXISTS', task) == 0 and 'f' or 's'
    elseif redis.call('PTTL', task) >= 0 then
      verdict = 's'
    elseif state == 'pending' or state == 'active' then
      verdict = string.sub(state, 1, 1)
    elseif containers[state] and in_set(ARGV[1] .. state, id) then
      verdict = 'f'
    elseif state == 'aggregating' and in_group(found[3] or '', id) then
      verdict = 'f'
    end
  end
  out[#out + 1] = verdict
  out[#out + 1] = message
  read = read + #message
  if read >= tonumber(ARGV[2]) then
    return out
  end
end
return out
