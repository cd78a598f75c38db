-- flow_store: keep a part of a flow that is about to start. It expires, unless it does start.
--
-- KEYS[1]  flow             HASH   qd:{flow:<id>}, see flow_move
-- ARGV[1]  token            of whoever stores it
-- ARGV[2]  first            1 = this is the first part: one that somebody else stores makes way for it
-- ARGV[3]  ttl              seconds
-- ARGV[4..] per field: name, value
-- Returns  1 kept, 0 there is a flow with this id, or somebody else stores one
-- include: types
local bad = check_types({ [KEYS[1]] = 'hash' })
if bad then
  return bad
end
local found = redis.call('HMGET', KEYS[1], 'token', 'state')
if ARGV[2] == '1' then
  if found[1] and found[2] ~= 'storing' then
    return 0
  end
  -- Who began with it may be dead, and would keep others out until it expires.
  redis.call('DEL', KEYS[1])
elseif found[1] ~= ARGV[1] or found[2] ~= 'storing' then
  return 0
end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'state', 'storing')
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
