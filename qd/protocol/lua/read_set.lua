-- read_set: the tasks of a staged set, in order of their time; those without a hash are left out.
--
-- KEYS[1]  set              ZSET   asynq:{q}:g:<group>:<set id>
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  offset
-- ARGV[3]  limit
-- Returns  flat list: id, message; then how many ids were read
local out = {}
local ids = redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[2] + ARGV[3] - 1)
for _, id in ipairs(ids) do
  local msg = redis.pcall('HGET', ARGV[1] .. id, 'msg')
  if type(msg) == 'string' then
    out[#out + 1] = id
    out[#out + 1] = msg
  end
end
out[#out + 1] = #ids
return out
