-- Counters as asynq keeps them. pcall: a broken counter must never keep a task from ending.
local function bump(day_key, total_key, by, expire_at)
  if by == 0 then
    return
  end
  if redis.pcall('INCRBY', day_key, by) == by then
    redis.pcall('EXPIREAT', day_key, expire_at)
  end
  local total = redis.pcall('INCRBY', total_key, by)
  -- asynq starts again at 1 when the counter cannot grow.
  local full = type(total) == 'table' and string.find(total.err, 'overflow', 1, true)
  if full or type(total) == 'number' and total >= 9223372036854775295 then
    redis.pcall('SET', total_key, by)
  end
end
