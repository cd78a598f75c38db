-- flush_group: make a group ripe, by letting its tasks look as if they had come long ago. A batch.
--
-- An aggregator, of Go as well, takes a group when no task has come for a while. All are moved by the
-- same time, so that their order stays.
--
-- KEYS[1]  group            ZSET   asynq:{q}:g:<group>
-- ARGV[1]  until            Unix seconds; tasks that come later are not meant
-- ARGV[2]  by               seconds to move them back
-- ARGV[3]  limit
-- Returns  how many were moved; call again until it is 0
local fresh = '(' .. (tonumber(ARGV[1]) - tonumber(ARGV[2]))
local found = redis.call('ZRANGE', KEYS[1], fresh, ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
local members = {}
for i = 1, #found, 2 do
  members[#members + 1] = tonumber(found[i + 1]) - tonumber(ARGV[2])
  members[#members + 1] = found[i]
end
if #members > 0 then
  redis.call('ZADD', KEYS[1], 'XX', unpack(members))
end
return #members / 2
