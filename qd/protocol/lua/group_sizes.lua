-- group_sizes: some of the groups of a queue, and how many tasks wait in each.
--
-- KEYS[1]  groups           SET    asynq:{q}:groups
-- ARGV[1]  group_prefix     asynq:{q}:g:
-- ARGV[2]  cursor           of SSCAN; '0' = begin
-- ARGV[3]  count            about how many
-- Returns  the next cursor ('0' = the end), then a flat list: name, size
local found = redis.call('SSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
local out = {}
for _, name in ipairs(found[2]) do
  local size = redis.pcall('ZCARD', ARGV[1] .. name)
  out[#out + 1] = name
  out[#out + 1] = type(size) == 'number' and size or 0
end
return { found[1], out }
