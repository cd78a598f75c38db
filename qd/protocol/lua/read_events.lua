-- read_events: a page of the transitions of a queue.
--
-- KEYS[1]  events           STREAM qd:{q}:events
-- ARGV[1]  command          XRANGE or XREVRANGE
-- ARGV[2]  from             id of an entry; '(' before it leaves that one out
-- ARGV[3]  to               id of an entry
-- ARGV[4]  count            at most
-- Returns  pairs of id and a flat list of fields
return redis.call(ARGV[1], KEYS[1], ARGV[2], ARGV[3], 'COUNT', ARGV[4])
