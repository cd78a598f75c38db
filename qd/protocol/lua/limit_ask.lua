-- limit_ask: let tasks that were taken start under a limit, or have them wait in its line. A batch.
--
-- A task that has a slot already keeps it, whoever runs it now: so a task of a dead worker has its slot
-- when it is taken again. Asked about twice, a task keeps its place in the line.
--
-- flags: allow-oom
-- KEYS[1]  due              ZSET   qd:{limit:NAME}:due (only names the node)
-- ARGV[1]  prefix           qd:{limit:NAME}:
-- ARGV[2]  rate             starts per second, 0 = any
-- ARGV[3]  burst
-- ARGV[4]  slots            0 = any
-- ARGV[5]  owner
-- ARGV[6..] per task: its key, key of the limit, 1 if it could start before and missed its moment,
--          with whom it takes turns ('' = with nobody)
-- Returns  1 if tasks have slots, else 0; 1 if there is a rate, else 0; then per task: from 0, it may start in so many microseconds;
--          below, it waits in the line, and should ask again in -n seconds if nobody calls it
-- include: limit
local limit = open_limit(ARGV[1], ARGV[2], ARGV[3], ARGV[4])
local out, keys = { limit.slots > 0 and 1 or 0, limit.every > 0 and 1 or 0 }, {}
for i = 6, #ARGV, 4 do
  local task, key = ARGV[i], ARGV[i + 1]
  local at = keys[key] or open_key(limit, key)
  keys[key] = at
  local has_slot = limit.slots > 0 and redis.call('ZSCORE', at.inside, task)
  local called = redis.call('ZSCORE', at.called, task)
  local rank = redis.call('ZRANK', at.line, task)
  local ahead = rank or at.waiting
  -- Room is kept for those who were called; whoever was not called stands behind all who wait.
  local others = called and at.calls - 1 or at.calls
  local missed = ARGV[i + 2] == '1'
  local turn = missed or has_slot or called or ahead <= at.calls
  local before = called and 0 or at.calls
  local start = start_at(limit, at, before)
  if turn and (has_slot or at.room > (called and 0 or others)) and start <= limit.now + AHEAD then
    if rank then
      leave_line(limit, at, task, redis.call('ZSCORE', at.line, task), ARGV[i + 3])
    end
    if called then
      redis.call('ZREM', at.called, task)
      at.calls = others
    end
    take_token(limit, at)
    if limit.slots > 0 then
      redis.call('ZADD', at.inside, limit.now + SLOT, task)
      redis.call('HSET', limit.prefix .. 'held', task, ARGV[5] .. ' ' .. key)
      at.room = has_slot and at.room or at.room - 1
    end
    out[#out + 1] = math.max(0, math.floor(start - limit.now))
  else
    if has_slot then
      -- It must wait for its next start; others may have the slot meanwhile.
      redis.call('ZREM', at.inside, task)
      redis.call('HDEL', limit.prefix .. 'held', task)
      at.room = at.room + 1
    end
    if called then
      redis.call('ZREM', at.called, task)
      at.calls = others
    end
    if not rank then
      local first = missed and redis.call('ZRANGE', at.line, 0, 0, 'WITHSCORES')[2]
      if first then
        stand_in_line(limit, at, task, '', first - 1)
      else
        stand_in_line(limit, at, task, ARGV[i + 3], limit.now + i)
      end
    end
    -- Spread out, so that a long line does not come back all at once.
    local turn_in = math.max(0, start_at(limit, at, ahead) - limit.now) / 1e6
    out[#out + 1] = -math.floor(60 + turn_in + ahead / 100)
  end
end
for _, at in pairs(keys) do
  note_due(limit, at)
end
return out
