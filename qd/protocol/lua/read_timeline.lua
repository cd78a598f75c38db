-- read_timeline: the transitions of one task that are still known, the oldest first, and where it is now.
--
-- KEYS[1]  events           STREAM qd:{q}:events
-- KEYS[2]  own              LIST   qd:{q}:events:t:<id>
-- KEYS[3]  task             HASH   asynq:{q}:t:<id>
-- Returns  its state ('' = there is no such task), then entries: pairs of id and a flat list of fields
local state = redis.pcall('HGET', KEYS[3], 'state')
local found = { type(state) == 'string' and state or '' }
for _, id in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  found[#found + 1] = redis.call('XRANGE', KEYS[1], id, id)[1]
end
return found
