-- expired: list active tasks whose lease has run out, oldest first. At most `limit`, or 1 MiB.
--
-- A hash that says it is not active is left out: such a task is somewhere else as well, and to end it
-- here would be a guess.
--
-- KEYS[1]  lease            ZSET   asynq:{q}:lease
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  cutoff           Unix seconds; leases of qd's own workers that ended by then
-- ARGV[3]  foreign_cutoff   Unix seconds; the same for leases that Go servers wrote
-- ARGV[4]  limit
-- Returns  flat list: id, score, owner ('' = not qd's), message ('' = the hash is gone)
local out, size, from = {}, 0, 0
local full = 4 * tonumber(ARGV[4])
-- Leases of Go servers that are not over yet must not hide what stands behind them.
while from < 2000 do
  local found = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[2], 'BYSCORE', 'LIMIT', from, 100, 'WITHSCORES')
  for i = 1, #found, 2 do
    local id, score = found[i], found[i + 1]
    local task = redis.pcall('HMGET', ARGV[1] .. id, 'state', 'qd_owner')
    local owner = not task.err and task[2] or ''
    if owner ~= '' or tonumber(score) <= tonumber(ARGV[3]) then
      local message = not task.err and redis.call('HGET', ARGV[1] .. id, 'msg') or ''
      if message == '' or task[1] == 'active' then
        out[#out + 1] = id
        out[#out + 1] = score
        out[#out + 1] = owner
        out[#out + 1] = message
        size = size + #message
      end
    end
    if #out >= full or size >= 1048576 then
      return out
    end
  end
  if #found < 200 then
    return out
  end
  from = from + 100
end
return out
