-- mend_task: put one task where it belongs, if nothing about it has changed since it was looked at.
--
-- flags: allow-oom
-- KEYS[1]  task             HASH   asynq:{q}:t:<id>
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- KEYS[3]  aside            any    qd:{q}:set-aside:t:<id>: where a key goes that is no task
-- ARGV[1]  prefix           asynq:{q}:
-- ARGV[2]  id
-- ARGV[3]  digest           of the facts that the repair was planned with
-- ARGV[4]  place            the container that is to list it, behind the prefix ('' = none, it is deleted)
-- ARGV[5]  score            in a sorted set, if it is not there yet
-- ARGV[6]  state            what the hash is to say
-- ARGV[7]  lease_until      Unix seconds; for an active task that has none
-- ARGV[8]  room             entries the archive may have for this one to come back ('' = any)
-- ARGV[9]  now_ns           nanoseconds
-- ARGV[10..] keys of groups it was seen in, behind the prefix
-- Returns  1 done, 0 it has changed: nothing was done
-- include: types
-- include: facts
-- include: unlock
local prefix, id, place = ARGV[1], ARGV[2], ARGV[4]
local found = facts(prefix, id, staged(prefix, { unpack(ARGV, 10) }))
if digest(found) ~= ARGV[3] then
  return 0
end
local is_list = { pending = true, active = true }
local group = string.match(place, '^g:(.*)$')
if place == 'archived' and ARGV[8] ~= '' and redis.call('ZCARD', prefix .. place) >= tonumber(ARGV[8]) then
  -- What a trimmed archive has left behind; brought back it would only push out another.
  place = ''
end
local wanted = { [KEYS[2]] = 'zset', [prefix .. 'groups'] = 'set' }
if place ~= '' then
  wanted[prefix .. place] = is_list[place] and 'list' or 'zset'
end
local bad = check_types(wanted)
if bad then
  return bad
end
local listed = false
for i = 9, #found, 2 do
  local name = found[i]
  local times = is_list[name] and tonumber(found[i + 1]) or 1
  if name == place then
    listed, times = true, times - 1
  end
  if is_list[name] and times > 0 then
    redis.call('LREM', prefix .. name, times, id)
  elseif times > 0 then
    redis.call('ZREM', prefix .. name, id)
  end
end
if place ~= 'active' then
  redis.call('ZREM', KEYS[2], id)
end
if place == '' then
  if found[1] == 'hash' then
    --> note_move(id, found[3], '', 'repaired by qd doctor')
    drop_task(prefix .. 't:', id)
  elseif found[1] ~= 'none' then
    redis.call('RENAME', KEYS[1], KEYS[3])
  end
  return 1
end
if not listed and is_list[place] then
  redis.call('LPUSH', prefix .. place, id)
elseif not listed then
  redis.call('ZADD', prefix .. place, ARGV[5], id)
end
if group then
  redis.call('SADD', prefix .. 'groups', group)
  redis.call('HSET', KEYS[1], 'group', group)
end
if found[3] ~= ARGV[6] then
  redis.call('HSET', KEYS[1], 'state', ARGV[6])
end
if place == 'active' then
  redis.call('ZADD', KEYS[2], 'NX', ARGV[7], id)
else
  redis.call('HDEL', KEYS[1], 'qd_owner')
end
if place == 'pending' then
  redis.call('HSETNX', KEYS[1], 'pending_since', ARGV[9])
end
redis.call('PERSIST', KEYS[1])
--> note_move(id, found[3], ARGV[6], 'repaired by qd doctor')
return 1
