-- unleased: active ids without a lease, which no recoverer would ever see. A slice of the list.
--
-- KEYS[1]  active           LIST   asynq:{q}:active
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- ARGV[1]  offset           ids to skip, from the oldest on
-- ARGV[2]  limit            ids to look at
-- Returns  how many ids were looked at, then those without a lease
local ids = redis.call('LRANGE', KEYS[1], -ARGV[1] - ARGV[2], -ARGV[1] - 1)
local out = { #ids }
for from = 1, #ids, 500 do
  local part = redis.call('ZMSCORE', KEYS[2], unpack(ids, from, math.min(from + 499, #ids)))
  for i = 1, #part do
    if not part[i] then
      out[#out + 1] = ids[from + i - 1]
    end
  end
end
return out
