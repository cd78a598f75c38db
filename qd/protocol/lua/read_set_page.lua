-- read_set_page: tasks of a sorted set in its order, behind a place that was reached before.
--
-- KEYS[1]  set              ZSET   asynq:{q}:scheduled, retry, archived, completed or g:<group>
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  after_score      where the last page ended; '' = begin at the first
-- ARGV[3]  after_id         likewise
-- ARGV[4]  offset           how many to pass over then
-- ARGV[5]  limit
-- ARGV[6]  bytes            stop when about so much was read
-- ARGV[7]  outline          '1' = message, pending_since, deaths, cause; '' = as in read_task
-- Returns  a list of tasks; with outline: ids and scores, at least of these tasks, and that list
-- include: describe

-- Redis orders equal scores by bytes; Lua's own `<` would follow the server's locale.
local function behind(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x > y
    end
  end
  return #a > #b
end

local first = 0
if ARGV[2] ~= '' then
  first = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[2])
  local last = first + redis.call('ZCOUNT', KEYS[1], ARGV[2], ARGV[2])
  while first < last do
    local middle = math.floor((first + last) / 2)
    if behind(redis.call('ZRANGE', KEYS[1], middle, middle)[1], ARGV[3]) then
      last = middle
    else
      first = middle + 1
    end
  end
end
first = first + tonumber(ARGV[4])
local found = redis.call('ZRANGE', KEYS[1], first, first + tonumber(ARGV[5]) - 1, 'WITHSCORES')
local look = ARGV[7] == '1' and outline or describe
local out, read = {}, 0
for i = 1, #found, 2 do
  local task, size = look(ARGV[1], found[i], found[i + 1])
  out[#out + 1] = task
  read = read + size
  if read >= tonumber(ARGV[6]) then
    break
  end
end
if ARGV[7] == '1' then
  return { found, out }
end
return out
