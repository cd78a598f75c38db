-- doctor_page: a page of a container, and which of its ids do not belong there as far as can be seen.
--
-- Lists are read from the newest on, sorted sets from the highest score on: what leaves at the other
-- end meanwhile moves nothing out of sight.
--
-- KEYS[1]  container        LIST   asynq:{q}:pending, active (or ZSET scheduled, retry, archived, completed, g:...)
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  state            what the tasks here should say
-- ARGV[3]  offset
-- ARGV[4]  limit
-- Returns  the ids, then those of them that are suspect; nothing for a key of another type
local is_list = ARGV[2] == 'pending' or ARGV[2] == 'active'
local last = ARGV[3] + ARGV[4] - 1
local ids
if is_list then
  ids = redis.pcall('LRANGE', KEYS[1], ARGV[3], last)
else
  ids = redis.pcall('ZRANGE', KEYS[1], ARGV[3], last, 'REV')
end
if ids.err then
  return { {}, {} }
end
local leases = {}
if ARGV[2] == 'active' and #ids > 0 then
  leases = redis.pcall('ZMSCORE', KEYS[2], unpack(ids))
end
local suspects = {}
for i, id in ipairs(ids) do
  local state = redis.pcall('HGET', ARGV[1] .. id, 'state')
  if state ~= ARGV[2] or ARGV[2] == 'active' and not leases[i] then
    suspects[#suspects + 1] = id
  end
end
return { ids, suspects }
