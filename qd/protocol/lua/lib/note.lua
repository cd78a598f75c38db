-- Sent before a script only where a timeline is kept, with the lines of it that begin with `-->`: what a
-- script moves is noted by the script itself, so nothing is missed, and nothing told that did not happen.
--
-- The last of KEYS is the stream of the queue, qd:{q}:events. Beside it stand, for each task, its latest
-- entries (LIST ...:t:<id>), and for each trace the ids of its tasks (SET ...:x:<trace>). The last of ARGV are
-- the seven below. All are taken off, so that the script finds what it always finds.
local events = table.remove(KEYS)
local trace_header = table.remove(ARGV)
local most_of_task = tonumber(table.remove(ARGV))
local most = tonumber(table.remove(ARGV))
local keep_ms = tonumber(table.remove(ARGV))
local by = table.remove(ARGV)
local step = table.remove(ARGV)
local prefix_of_tasks = table.remove(ARGV)
local roomy = false

-- The fields of a message by their numbers in internal/proto/asynq.proto; 15 are the headers. Raises where
-- the bytes end too early; what was read until then is kept.
local function read_fields(bytes, into)
  local at = 1
  local function number()
    local value, scale = 0, 1
    while true do
      local byte = string.byte(bytes, at)
      at, value, scale = at + 1, value + byte % 128 * scale, scale * 128
      if byte < 128 then
        return value
      end
    end
  end
  while at <= #bytes do
    local tag = number()
    local field, kind = math.floor(tag / 8), tag % 8
    if kind == 0 then
      into[field] = number()
    elseif kind == 2 then
      local size = number()
      local value = string.sub(bytes, at, at + size - 1)
      at = at + size
      if field == 15 then
        local pair = {}
        read_fields(value, pair)
        into.headers[pair[1] or ''] = pair[2]
      else
        into[field] = value
      end
    elseif kind == 1 or kind == 5 then
      at = at + (kind == 1 and 8 or 4)
    else
      return
    end
  end
end

local function fields_of(message)
  local found = { headers = {} }
  if type(message) == 'string' then
    pcall(read_fields, message, found)
  end
  return found
end

-- The error that a message tells of.
local function said(message)
  return fields_of(message)[7] or ''
end

-- W3C's traceparent has the id of the trace as its second part; other headers are taken whole.
local function trace_of(found)
  local value = found.headers[trace_header] or ''
  return string.sub(string.match(value, '^%x%x%-(%x+)%-%x+%-%x%x') or value, 1, 200)
end

-- Forget the oldest entries `up to` an id, so many at the most, and what points to them.
local function forget(up_to, count)
  local old = redis.call('XRANGE', events, '-', up_to, 'COUNT', count)
  for _, entry in ipairs(old) do
    local id, trace = entry[2][2], entry[2][4]
    local own = events .. ':t:' .. id
    if redis.call('LINDEX', own, 0) == entry[1] then
      redis.call('LPOP', own)
      if trace ~= '' and redis.call('EXISTS', own) == 0 then
        redis.call('SREM', events .. ':x:' .. trace, id)
      end
    end
  end
  if #old > 0 then
    redis.call('XTRIM', events, 'MAXLEN', redis.call('XLEN', events) - #old)
  end
end

-- Once a script. No script notes more than it forgets here, so it does not get more and more.
local function make_room(now_ms)
  forget(string.format('%.0f', math.max(now_ms - keep_ms - 1, 0)), 1000)
  local over = redis.call('XLEN', events) - most
  if over > 0 then
    forget('+', math.min(over, 1000))
  end
  redis.call('PEXPIRE', events, keep_ms)
end

local function add(id, from, to, reason, next_at, counted)
  local found = fields_of(redis.call('HGET', prefix_of_tasks .. id, 'msg'))
  local trace = trace_of(found)
  local attempt = (found[6] or 0) + 1 - (tonumber(counted) or 0)
  local entry = redis.call('XADD', events, '*', 'id', id, 'trace', trace, 'type', found[1] or '',
    'from', from, 'to', to, 'step', step, 'attempt', attempt, 'by', by,
    'reason', string.sub(reason or '', 1, 500), 'next_at', next_at or '')
  local own = events .. ':t:' .. id
  if redis.call('RPUSH', own, entry) > most_of_task then
    redis.call('LPOP', own)
  end
  redis.call('PEXPIRE', own, keep_ms)
  if trace ~= '' then
    redis.call('SADD', events .. ':x:' .. trace, id)
    redis.call('PEXPIRE', events .. ':x:' .. trace, keep_ms)
  end
  if not roomy then
    roomy = true
    make_room(tonumber(string.match(entry, '^%d+')))
  end
end

-- Note that a task goes `from` one state `to` another; '' is nowhere: it is new, or gone. To be called while
-- its hash is there. `next_at` is Unix seconds; `counted` is 1 if its message counts this failure already.
-- pcall: what cannot be noted must not keep a task from moving.
local function note_move(...)
  pcall(add, ...)
end
