-- For a test kit: the time that it has set, in the form of TIME, or the server's where none is set.
local function kit_time()
  local at = redis.call('GET', 'qd:clock')
  -- In other quotes than elsewhere, for there it is replaced by this function.
  return at and { at, '0' } or redis.call("TIME")
end
