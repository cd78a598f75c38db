-- Take in one new task; the caller has checked the types of the keys. `new` is the list that
-- ops/admission.py makes: state, id, message, unique_key ('' = none), unique_ttl, score, group
-- ('' = none), now_ns. Answers: 1 taken in, 2 the id is in use, 3 the lock is held.
local function admit(task, container, groups, new)
  local state, id, unique_key, group = new[1], new[2], new[4], new[7]
  if redis.call('EXISTS', task) == 1 then
    return 2
  end
  if unique_key ~= '' and not redis.call('SET', unique_key, id, 'NX', 'EX', new[5]) then
    return 3
  end
  redis.call('HSET', task, 'msg', new[3], 'state', state)
  if unique_key ~= '' then
    redis.call('HSET', task, 'unique_key', unique_key)
  end
  if group ~= '' then
    redis.call('HSET', task, 'group', group)
  end
  if state == 'pending' then
    redis.call('HSET', task, 'pending_since', new[8])
    redis.call('LPUSH', container, id)
  else
    redis.call('ZADD', container, new[6], id)
  end
  if state == 'aggregating' then
    redis.call('SADD', groups, group)
  end
  return 1
end

local function container_type(state)
  return state == 'pending' and 'list' or 'zset'
end
