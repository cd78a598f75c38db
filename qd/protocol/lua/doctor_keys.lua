-- doctor_keys: type of some keys, whether they expire, and whether a string is a whole number.
--
-- KEYS[..] keys of one queue
-- Returns  flat list: type, 1 if it expires, 1 if it is a whole number
local out = {}
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  local value = kind == 'string' and redis.call('STRLEN', key) < 30 and redis.call('GET', key) or ''
  out[#out + 1] = kind
  out[#out + 1] = redis.call('PTTL', key) >= 0 and 1 or 0
  out[#out + 1] = string.match(value, '^-?%d+$') and 1 or 0
end
return out
