-- doctor_locks: uniqueness locks whose holder is gone, or does not say that it holds them.
--
-- KEYS[1]  pending          LIST   asynq:{q}:pending: only names the node
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2..] keys of locks
-- Returns  flat list: lock, id of the holder ('' = the key is no string), message of the holder (nil =
--          it is gone)
local out = {}
for i = 2, #ARGV do
  local holder = redis.pcall('GET', ARGV[i])
  if type(holder) == 'string' then
    local found = redis.pcall('HMGET', ARGV[1] .. holder, 'unique_key', 'msg')
    if not found.err and found[1] ~= ARGV[i] then
      out[#out + 1] = ARGV[i]
      out[#out + 1] = holder
      -- asynq names the lock of a task in a group in its message only.
      out[#out + 1] = found[2]
    end
  elseif holder then
    out[#out + 1] = ARGV[i]
    out[#out + 1] = ''
    out[#out + 1] = false
  end
end
return out
