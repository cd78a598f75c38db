-- Operators name tasks that may have moved on meanwhile, so each is looked at again before it is
-- touched. Answers: 1 as expected, 0 the hash is gone, -1 in another state, -2 in this state but not
-- listed, -3 the message is not the one that was read (its sha1 differs).
local function pick(prefix, source, state, id, digest)
  local task = redis.pcall('HMGET', prefix .. id, 'state', 'msg')
  if task.err then
    return -1
  end
  if not task[1] and not task[2] then
    return redis.call('EXISTS', prefix .. id) == 0 and 0 or -1
  end
  if task[1] ~= state then
    return -1
  end
  if state == 'pending' then
    -- From the tail: bulk operations begin there.
    if not redis.call('LPOS', source, id, 'RANK', -1) then
      return -2
    end
  elseif not redis.call('ZSCORE', source, id) then
    return -2
  end
  if digest ~= '' and redis.sha1hex(task[2] or '') ~= digest then
    return -3
  end
  return 1
end

-- Take an id out of its container; returns how often it was there.
local function take(source, state, id)
  if state == 'pending' then
    return redis.call('LREM', source, -1, id)
  end
  return redis.call('ZREM', source, id)
end

-- A group whose last task has left is not listed any longer.
local function close_group(source, groups, group)
  if group ~= '' and redis.call('EXISTS', source) == 0 then
    redis.call('SREM', groups, group)
  end
end
