-- All that decides whether a task is stored as it should be, as one flat list. Read again, the list is
-- the same as long as nothing about the task has changed; that is what makes a repair safe.
-- Fields: type of the task's key, '1' if it expires, state, sha1 of the message ('' = none), group,
-- unique_key, qd_owner, score of the lease ('' = none), then pairs: container (its key behind the
-- prefix), and how often (lists) or with which score (sorted sets) it lists the task.
local lists = { 'pending', 'active' }
local sets = { 'scheduled', 'retry', 'archived', 'completed' }

-- Keys of groups and staged sets that may list a task: the staged ones, and those that were `seen`.
local function staged(prefix, seen)
  local out = {}
  local found = redis.pcall('ZRANGE', prefix .. 'aggregation_sets', 0, 999)
  for _, key in ipairs(found.err and {} or found) do
    if string.sub(key, 1, #prefix) == prefix then
      out[#out + 1] = string.sub(key, #prefix + 1)
    end
  end
  for _, name in ipairs(seen) do
    out[#out + 1] = name
  end
  return out
end

local function facts(prefix, id, more)
  local task = prefix .. 't:' .. id
  local out = { redis.call('TYPE', task).ok, '', '', '', '', '', '', '' }
  if out[1] == 'hash' then
    local found = redis.call('HMGET', task, 'state', 'msg', 'group', 'unique_key', 'qd_owner')
    out[2] = redis.call('PTTL', task) >= 0 and '1' or ''
    out[3] = found[1] or ''
    out[4] = found[2] and redis.sha1hex(found[2]) or ''
    out[5], out[6], out[7] = found[3] or '', found[4] or '', found[5] or ''
  end
  local function score(name)
    local found = redis.pcall('ZSCORE', prefix .. name, id)
    return type(found) == 'string' and found
  end
  out[8] = score('lease') or ''
  for _, name in ipairs(lists) do
    local at = redis.pcall('LPOS', prefix .. name, id, 'COUNT', 0)
    if not at.err and #at > 0 then
      out[#out + 1], out[#out + 2] = name, tostring(#at)
    end
  end
  local known = {}
  local function note(name)
    local found = not known[name] and score(name)
    known[name] = true
    if found then
      out[#out + 1], out[#out + 2] = name, found
    end
  end
  for _, name in ipairs(sets) do
    note(name)
  end
  for _, name in ipairs(more) do
    note(name)
  end
  if out[5] ~= '' then
    note('g:' .. out[5])
  end
  return out
end

local function digest(found)
  return redis.sha1hex(table.concat(found, '\0'))
end
