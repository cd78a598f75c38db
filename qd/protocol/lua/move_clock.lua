-- move_clock: for a test kit: set the time, and let all that ends by itself be that much nearer to its end.
--
-- KEYS[1]  clock   STRING  qd:clock
-- ARGV[1]  now     unix seconds
-- ARGV[2]  passed  milliseconds since it was set last
-- Returns  how many keys have ended
local ended = 0
if tonumber(ARGV[2]) > 0 then
  for _, key in ipairs(redis.call('KEYS', '*')) do
    local left = redis.call('PTTL', key)
    if left >= 0 then
      -- None or less is left: it is deleted.
      redis.call('PEXPIRE', key, string.format('%.0f', left - ARGV[2]))
      ended = ended + (left <= tonumber(ARGV[2]) and 1 or 0)
    end
  end
end
redis.call('SET', KEYS[1], ARGV[1])
return ended
