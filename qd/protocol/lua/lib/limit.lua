-- What a limit has under its prefix, times in microseconds of the server's clock:
--   set           HASH    what an operator set: rate, burst, slots
--   held          HASH    who has a slot: task -> worker, blank, key
--   due           ZSET    key -> when somebody must look whether waiting tasks can go
--   in:<key>      ZSET    tasks with a slot -> when the slot is lost unless it is renewed
--   line:<key>    ZSET    tasks that wait, in their order
--   called:<key>  ZSET    those of them that were called -> how long there is room for them
--   turns:<key>   HASH    where tasks take turns: place of the last one of each, and where the line is
--   next:<key>    STRING  when the bucket is full again (GCRA's "theoretical arrival time")
-- A task is named by its key. The tasks that were called are the first of the line.
--
-- A slot is kept for 20 s, five more than the lease of a task; room for a called task for one second.
-- Tasks are called 0.3 s before they may start, and given to a worker up to 0.4 s before.
-- A start may come 20 ms late; as much less may start at once, so that no window has too many.
local SLOT, CALL, LEAD, AHEAD, LATE = 20e6, 1e6, 300e3, 400e3, 20e3

local function server_time()
  local now = redis.call('TIME')
  return now[1] * 1e6 + now[2]
end

-- `given`: rate (starts per second, 0 = any), burst, slots (0 = any) as configured.
local function open_limit(prefix, rate, burst, slots)
  local set = redis.call('HMGET', prefix .. 'set', 'rate', 'burst', 'slots')
  rate, burst, slots = tonumber(set[1] or rate), tonumber(set[2] or burst), tonumber(set[3] or slots)
  local every = rate > 0 and 1e6 / rate or 0
  return { prefix = prefix, every = every, depth = math.max(0, (burst - 1) * every - LATE), slots = slots, now = server_time() }
end

-- The state of one key; what is over is taken away first.
local function open_key(limit, key)
  local p = limit.prefix
  local at = { key = key, line = p .. 'line:' .. key, inside = p .. 'in:' .. key }
  at.called, at.next = p .. 'called:' .. key, p .. 'next:' .. key
  redis.call('ZREMRANGEBYSCORE', at.called, '-inf', limit.now)
  local members = redis.call('ZRANGE', at.inside, '-inf', limit.now, 'BYSCORE', 'LIMIT', 0, 500)
  if #members > 0 then
    redis.call('ZREM', at.inside, unpack(members))
    redis.call('HDEL', p .. 'held', unpack(members))
  end
  at.waiting = redis.call('ZCARD', at.line)
  at.calls = redis.call('ZCARD', at.called)
  at.room = limit.slots > 0 and limit.slots - redis.call('ZCARD', at.inside) or math.huge
  at.full_at = limit.every > 0 and tonumber(redis.call('GET', at.next) or 0) or 0
  return at
end

-- When a task may start if `before` others do so before it; may lie in the past.
local function start_at(limit, at, before)
  return math.max(at.full_at, limit.now) + before * limit.every - limit.depth
end

local function take_token(limit, at)
  if limit.every > 0 then
    at.full_at = math.max(at.full_at, limit.now) + limit.every
    redis.call('SET', at.next, at.full_at, 'PX', math.ceil((at.full_at - limit.now) / 1000) + 1000)
  end
end

-- Put a task into the line. With a `turn`, those of each turn stand one behind the other, and between
-- the turns it is one by one: a place is a round, and each turn has one task in a round (start-time fair
-- queueing). Otherwise a place is a time.
local function stand_in_line(limit, at, task, turn, time)
  local place = time
  if turn ~= '' then
    local turns = limit.prefix .. 'turns:' .. at.key
    local found = redis.call('HMGET', turns, 'of ' .. turn, 'round')
    place = math.max(tonumber(found[1] or 0), tonumber(found[2] or 0)) + 1
    redis.call('HSET', turns, 'of ' .. turn, place)
  end
  redis.call('ZADD', at.line, place, task)
  at.waiting = at.waiting + 1
end

-- A task has left the line, for it may start.
local function leave_line(limit, at, task, place, turn)
  redis.call('ZREM', at.line, task)
  at.waiting = at.waiting - 1
  local turns = limit.prefix .. 'turns:' .. at.key
  if turn ~= '' and at.waiting == 0 then
    redis.call('DEL', turns)
  elseif turn ~= '' and tonumber(place) > tonumber(redis.call('HGET', turns, 'round') or 0) then
    redis.call('HSET', turns, 'round', place)
  end
end

-- Note when somebody must look at this key again.
local function note_due(limit, at)
  local due = limit.prefix .. 'due'
  if at.waiting == 0 then
    redis.call('ZREM', due, at.key)
    return
  end
  local look = math.huge
  if at.calls > 0 then
    look = tonumber(redis.call('ZRANGE', at.called, 0, 0, 'WITHSCORES')[2])
  end
  if at.waiting > at.calls then
    if at.room > at.calls then
      look = math.min(look, start_at(limit, at, at.calls) - LEAD / 3)
    else
      local first = redis.call('ZRANGE', at.inside, 0, 0, 'WITHSCORES')
      look = math.min(look, tonumber(first[2]) or look)
    end
  end
  redis.call('ZADD', due, math.min(look, limit.now + 3600e6), at.key)
end

-- Call the first of those who wait, as many as there is room for, and not more than `most`.
local function call_waiting(limit, at, most, out)
  local free = math.min(at.room - at.calls, at.waiting - at.calls, most)
  if free > 0 and limit.every > 0 then
    local starts = math.floor((limit.now + LEAD - start_at(limit, at, at.calls)) / limit.every) + 1
    free = math.min(free, starts)
  end
  if free > 0 then
    local before = #out
    for _, task in ipairs(redis.call('ZRANGE', at.line, 0, at.calls + free - 1)) do
      if #out - before < free and not redis.call('ZSCORE', at.called, task) then
        redis.call('ZADD', at.called, limit.now + CALL, task)
        out[#out + 1] = task
      end
    end
    at.calls = at.calls + #out - before
  end
  note_due(limit, at)
end
