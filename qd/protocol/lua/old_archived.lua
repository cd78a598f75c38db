-- old_archived: archived tasks of one type that have been there for long; changes nothing.
--
-- KEYS[1]  archived         ZSET   asynq:{q}:archived
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  until            Unix seconds; entries up to here
-- ARGV[3]  head             the bytes with which messages of the type begin
-- ARGV[4]  offset
-- ARGV[5]  limit            entries to look at
-- Returns  how many entries were looked at, then id, message, id, message ...
local ids = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[2], 'BYSCORE', 'LIMIT', ARGV[4], ARGV[5])
local out = { #ids }
for _, id in ipairs(ids) do
  local message = redis.pcall('HGET', ARGV[1] .. id, 'msg')
  if type(message) == 'string' and string.sub(message, 1, #ARGV[3]) == ARGV[3] then
    out[#out + 1] = id
    out[#out + 1] = message
  end
end
return out
