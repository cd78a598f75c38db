-- flow_store: keep a part of a flow that is about to start. It expires, unless it does start.
--
-- KEYS[1]  flow             HASH   qd:{flow:<id>}, see flow_move
-- ARGV[1]  token            of whoever stores it
-- ARGV[2]  ttl              seconds
-- ARGV[3..] per field: name, value
-- Returns  1 kept, 0 there is a flow with this id
-- include: types
local bad = check_types({ [KEYS[1]] = 'hash' })
if bad then
  return bad
end
local found = redis.call('HMGET', KEYS[1], 'token', 'state')
if found[1] and (found[1] ~= ARGV[1] or found[2] ~= 'storing') then
  return 0
end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'state', 'storing')
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
