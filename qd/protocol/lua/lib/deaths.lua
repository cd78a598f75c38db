-- Count a death for a task; returns how many there are now. The first that somebody else may be to
-- blame for is forgiven: noted, not counted. pcall: what fails here would leave a batch half done.
local function count_death(task, cause, forgivable)
  redis.pcall('HSET', task, 'qd_cause', cause)
  if forgivable and redis.pcall('HSETNX', task, 'qd_spared', 1) == 1 then
    return 0
  end
  local counted = redis.pcall('HINCRBY', task, 'qd_deaths', 1)
  return type(counted) == 'number' and counted or 0
end
