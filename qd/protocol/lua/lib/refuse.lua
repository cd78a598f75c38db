-- Why a new task is not taken in. pcall: under its key, or under the lock's, may be anything.
local function in_use(task)
  local state = redis.pcall('HGET', task, 'state')
  return 'c' .. (type(state) == 'string' and state or '')
end

local function locked(unique_key)
  local holder = redis.pcall('GET', unique_key)
  return 'd' .. (type(holder) == 'string' and holder or '')
end
