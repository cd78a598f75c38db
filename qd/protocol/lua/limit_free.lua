-- limit_free: tasks have ended, or will not come: their slots and places are free. A batch.
--
-- Room that there is now is for the first of those who wait: they are called.
--
-- flags: allow-oom
-- KEYS[1]  due              ZSET   qd:{limit:NAME}:due (only names the node)
-- ARGV[1]  prefix           qd:{limit:NAME}:
-- ARGV[2]  rate             starts per second, 0 = any
-- ARGV[3]  burst
-- ARGV[4]  slots            0 = any
-- ARGV[5]  owner            who must have the slots ('' = whoever)
-- ARGV[6]  unused           1 if the tasks did not start: what they took of the rate is given back
-- ARGV[7..] per task: its key, key of the limit ('' = that under which it has a slot)
-- Returns  per task that is called: its key, key of the limit
-- include: limit
local limit = open_limit(ARGV[1], ARGV[2], ARGV[3], ARGV[4])
local held = limit.prefix .. 'held'
local touched = {}
for i = 7, #ARGV, 2 do
  local task, key = ARGV[i], ARGV[i + 1]
  local owner, under = string.match(redis.call('HGET', held, task) or '', '^(%S+) (.*)$')
  if under and (ARGV[5] == '' or owner == ARGV[5]) then
    redis.call('ZREM', limit.prefix .. 'in:' .. under, task)
    redis.call('HDEL', held, task)
    touched[under] = true
  end
  if ARGV[5] == '' then
    redis.call('ZREM', limit.prefix .. 'line:' .. key, task)
    if redis.call('EXISTS', limit.prefix .. 'line:' .. key) == 0 then
      redis.call('DEL', limit.prefix .. 'turns:' .. key)
    end
    redis.call('ZREM', limit.prefix .. 'called:' .. key, task)
    touched[key] = true
  end
  if ARGV[6] == '1' and limit.every > 0 then
    local full_at = redis.call('GET', limit.prefix .. 'next:' .. key)
    if full_at then
      redis.call('SET', limit.prefix .. 'next:' .. key, tonumber(full_at) - limit.every, 'KEEPTTL')
    end
    touched[key] = true
  end
end
local called = {}
for key in pairs(touched) do
  local out = {}
  call_waiting(limit, open_key(limit, key), 100, out)
  for _, task in ipairs(out) do
    called[#called + 1] = task
    called[#called + 1] = key
  end
end
return called
