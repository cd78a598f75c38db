-- How full a queue is. What counts is what workers have still to do; each count is one step for Redis.
local function size_of(pending, active, scheduled, retry)
  return redis.call('LLEN', pending) + redis.call('LLEN', active) + redis.call('ZCARD', scheduled) + redis.call('ZCARD', retry)
end

-- The level of a queue of this size. One that is reached is left only a margin below its mark, so that
-- a queue whose size goes up and down about a mark does not change its level each time.
local function level_of(size, before, warning, critical, margin)
  if size >= critical or before == 'critical' and size >= critical - margin then
    return 'critical'
  end
  if size >= warning or before ~= 'ok' and size >= warning - margin then
    return 'warning'
  end
  return 'ok'
end

local function note_level(pressure, before, level, now)
  if level ~= before then
    redis.call('HSET', pressure, 'level', level, 'since', now)
  end
end
