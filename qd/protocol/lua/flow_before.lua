-- flow_before: read which links stand directly before one, in their order; joins are seen through.
--
-- KEYS[1]  flow             HASH   qd:{flow:<id>}, see flow_move
-- ARGV[1]  n                the link
-- Returns  their numbers; nil if there is no such link
local function before(n)
  return redis.call('HGET', KEYS[1], '<' .. n) or ''
end
if redis.call('HEXISTS', KEYS[1], 't' .. ARGV[1]) == 0 then
  return false
end
local found = before(ARGV[1])
-- A join stands alone before what is behind it.
while string.match(found, '^%-%d+$') do
  found = before(found)
end
local out = {}
for n in string.gmatch(found, '%S+') do
  out[#out + 1] = n
end
return out
