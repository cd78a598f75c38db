-- scan_keys: some of the keys that match a pattern; part of a walk over all keys of the node.
--
-- KEYS[1]  pending          LIST   asynq:{q}:pending: only names the node
-- ARGV[1]  pattern          of the keys
-- ARGV[2]  cursor           of SCAN; '0' = begin
-- ARGV[3]  count            about how many keys to look at
-- Returns  the next cursor ('0' = the end), then keys
return redis.call('SCAN', ARGV[2], 'MATCH', ARGV[1], 'COUNT', ARGV[3])
