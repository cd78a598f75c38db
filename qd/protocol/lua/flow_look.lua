-- flow_look: read which links of a flow are enqueued; those that nobody looked at for longest come first.
--
-- flags: allow-oom
-- KEYS[1]  flow             HASH   qd:{flow:<id>}, see flow_move
-- KEYS[2]  open             ZSET   qd:{flow:<id>}:open
-- ARGV[1]  now              Unix seconds
-- ARGV[2]  limit            links at most
-- Returns  state ('' = there is no such flow), changed, then per link: its number, state, t
-- include: types
local flow, open = KEYS[1], KEYS[2]
local bad = check_types({ [flow] = 'hash', [open] = 'zset' })
if bad then
  return bad
end
local found = redis.call('HMGET', flow, 'state', 'changed')
local out = { found[1] or '', found[2] or '' }
for _, n in ipairs(redis.call('ZRANGE', open, 0, ARGV[2] - 1)) do
  local link = redis.call('HMGET', flow, 's' .. n, 't' .. n)
  redis.call('ZADD', open, ARGV[1], n)
  out[#out + 1], out[#out + 2], out[#out + 3] = n, link[1], link[2]
end
return out
