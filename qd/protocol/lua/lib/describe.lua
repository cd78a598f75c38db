-- All that is known of a task: id, score, end of its lease, whether its hash exists, then the fields.
-- What is not there is false. The second result is how many bytes that is, roughly.
local function describe(prefix, id, score, lease_until)
  local found = redis.pcall('HMGET', prefix .. id, 'state', 'msg', 'pending_since', 'unique_key', 'group', 'result', 'qd_owner', 'qd_deaths', 'qd_cause', 'qd_waits', 'qd_progress')
  local out = { id, score or false, lease_until or false, redis.call('EXISTS', prefix .. id) }
  for i = 1, 11 do
    out[i + 4] = not found.err and found[i] or false
  end
  return out, 200 + #(out[6] or '') + #(out[10] or '')
end

-- What tells whether a task is meant, without its id: message, pending_since, deaths, cause. The
-- answer of Redis goes on as it came, for a walk looks at very many.
local function outline(prefix, id)
  local found = redis.pcall('HMGET', prefix .. id, 'msg', 'pending_since', 'qd_deaths', 'qd_cause')
  if found.err then
    found = { false, false, false, false }
  end
  return found, 100 + #(found[1] or '')
end
