-- flow_start: let a flow begin that was stored as a whole. Safe to repeat.
--
-- KEYS[1]  flow             HASH   qd:{flow:<id>}, see flow_move
-- KEYS[2]  ready            ZSET   qd:{flow:<id>}:ready
-- ARGV[1]  token            of whoever has stored it
-- ARGV[2]  now              Unix seconds
-- ARGV[3..] the nodes that wait for nothing
-- Returns  1 it has begun, 0 it is gone, or somebody else's
-- include: types
local bad = check_types({ [KEYS[1]] = 'hash', [KEYS[2]] = 'zset' })
if bad then
  return bad
end
local found = redis.call('HMGET', KEYS[1], 'token', 'state')
if found[1] ~= ARGV[1] then
  return 0
end
if found[2] == 'storing' then
  redis.call('HSET', KEYS[1], 'state', 'running', 'created', ARGV[2], 'changed', ARGV[2])
  redis.call('PERSIST', KEYS[1])
  for i = 3, #ARGV do
    redis.call('ZADD', KEYS[2], 0, ARGV[i])
  end
end
return 1
