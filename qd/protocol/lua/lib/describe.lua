-- All that is known of a task: id, score, end of its lease, whether its hash exists, then the fields.
-- What is not there is false. The second result is how many bytes that is, roughly.
local function describe(prefix, id, score, lease_until)
  local found = redis.pcall('HMGET', prefix .. id, 'state', 'msg', 'pending_since', 'unique_key', 'group', 'result', 'qd_owner', 'qd_deaths', 'qd_cause')
  local out = { id, score or false, lease_until or false, redis.call('EXISTS', prefix .. id) }
  for i = 1, 9 do
    out[i + 4] = not found.err and found[i] or false
  end
  return out, 200 + #(out[6] or '') + #(out[10] or '')
end
