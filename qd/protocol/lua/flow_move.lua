-- flow_move: tell a flow what became of some of its nodes, and take in hand what can be enqueued now.
--
-- A node is a link, which has a task, or a join, which has none. What is told twice changes nothing.
-- Nodes are handed out for a while: if who took them is not heard of again, somebody else gets them.
--
-- The flow has: state (storing, running, failed, broken, done), created, changed, keep (seconds after its
-- end), links, ended, dead, gone (how many), at (the link that stopped last), ends (its last links), wide
-- (0 or 1), token. Of node n: t<n> what to enqueue, m<n> its message until it is enqueued, ><n> the nodes
-- behind it, <<n> those before it, w<n> for how many of them it waits (not there: one), s<n> its state
-- (e enqueued, d done, a dead, g gone; not there: it waits), r<n> its result.
--
-- flags: allow-oom
-- KEYS[1]  flow             HASH   qd:{flow:<id>}
-- KEYS[2]  ready            ZSET   qd:{flow:<id>}:ready: nodes -> until when somebody has them in hand
-- KEYS[3]  open             ZSET   qd:{flow:<id>}:open: links that are enqueued -> when they were looked at
-- ARGV[1]  now              Unix seconds
-- ARGV[2]  until            Unix seconds: how long the caller has the nodes that it gets
-- ARGV[3]  limit            nodes at most
-- ARGV[4]  room             bytes of messages after which no more are given
-- ARGV[5]  keep_broken      seconds that a flow is kept which cannot go on
-- ARGV[6..] per piece of news: node, its state, result ('' = none)
-- Returns  state ('' = there is no such flow), 1 if it may go on, then per node: its name, t, m
-- include: types
local flow, ready, open = KEYS[1], KEYS[2], KEYS[3]
local bad = check_types({ [flow] = 'hash', [ready] = 'zset', [open] = 'zset' })
if bad then
  return bad
end
local before = redis.call('HGET', flow, 'state') or ''
if before == '' or before == 'storing' then
  return { before, before == '' and 0 or 1 }
end
local counted = { d = 'ended', a = 'dead', g = 'gone' }

local function become(n, state, was)
  if redis.call('HEXISTS', flow, 't' .. n) == 1 then
    if counted[was] then
      redis.call('HINCRBY', flow, counted[was], -1)
    end
    if counted[state] then
      redis.call('HINCRBY', flow, counted[state], 1)
    end
  end
  redis.call('HSET', flow, 's' .. n, state)
  if redis.call('ZREM', ready, n) == 1 then
    redis.call('HDEL', flow, 'm' .. n)
  end
  if state == 'e' or state == 'a' then
    redis.call('ZADD', open, ARGV[1], n)
  else
    redis.call('ZREM', open, n)
  end
end

local function let_go(n)
  for next_one in string.gmatch(redis.call('HGET', flow, '>' .. n) or '', '%S+') do
    local left = tonumber(redis.call('HGET', flow, 'w' .. next_one) or 1) - 1
    if left > 0 then
      redis.call('HSET', flow, 'w' .. next_one, left)
    else
      redis.call('HDEL', flow, 'w' .. next_one)
      redis.call('ZADD', ready, 0, next_one)
    end
  end
end

local changed = false
for i = 6, #ARGV, 3 do
  local n, state = ARGV[i], ARGV[i + 1]
  local was = redis.call('HGET', flow, 's' .. n) or ''
  if was ~= 'd' and was ~= state then
    changed = true
    become(n, state, was)
    if state == 'd' then
      if ARGV[i + 2] ~= '' then
        redis.call('HSET', flow, 'r' .. n, ARGV[i + 2])
      end
      let_go(n)
    elseif state ~= 'e' then
      redis.call('HSET', flow, 'at', n)
    end
  end
end

local state, may_go_on = before, 1
local counts = redis.call('HMGET', flow, 'links', 'ended', 'dead', 'gone', 'keep')
if counts[1] == counts[2] then
  state, may_go_on = 'done', 0
elseif tonumber(counts[4] or 0) > 0 then
  state = 'broken'
  may_go_on = redis.call('EXISTS', ready, open) > 0 and 1 or 0
else
  state = tonumber(counts[3] or 0) > 0 and 'failed' or 'running'
end
if changed then
  redis.call('HSET', flow, 'changed', ARGV[1], 'state', state)
  if may_go_on == 1 then
    redis.call('PERSIST', flow)
  else
    local keep = tonumber(counts[5])
    redis.call('EXPIRE', flow, state == 'done' and keep or math.max(keep, tonumber(ARGV[5])))
  end
end

local out, given = { state, may_go_on }, 0
for _, n in ipairs(redis.call('ZRANGE', ready, '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[3])) do
  if given < tonumber(ARGV[4]) then
    local found = redis.call('HMGET', flow, 't' .. n, 'm' .. n)
    redis.call('ZADD', ready, ARGV[2], n)
    out[#out + 1], out[#out + 2], out[#out + 3] = n, found[1], found[2]
    given = given + #(found[2] or '')
  end
end
return out
