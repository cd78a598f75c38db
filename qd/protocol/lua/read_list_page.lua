-- read_list_page: tasks of a list from its tail on, behind those that were read before.
--
-- Places in a list shift while tasks come and go, so the ids of the last page are the mark: the
-- latest that still stands beside another of them. When none does, all of them have left by the
-- tail, and reading goes on at what is the tail now.
--
-- KEYS[1]  list             LIST   asynq:{q}:pending or asynq:{q}:active
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  state            pending or active
-- ARGV[3]  offset           from the tail; the last page ended just before
-- ARGV[4]  limit
-- ARGV[5]  bytes            stop when about so much was read
-- ARGV[6]  outline          '1' = message, pending_since, deaths, cause; '' = as in read_task
-- ARGV[7..] ids of the last page
-- Returns  the offset behind the last one that was read, then a list of tasks, then their ids
-- include: describe
local length = redis.call('LLEN', KEYS[1])
local start = tonumber(ARGV[3])

local function from_tail(place)
  return place >= 0 and redis.call('LINDEX', KEYS[1], -place - 1)
end

local function resume()
  local known, searched = {}, 0
  for i = 7, #ARGV do
    known[ARGV[i]] = true
  end
  for i = #ARGV, 7, -1 do
    local id, place = ARGV[i], start - 1 - (#ARGV - i)
    if redis.pcall('HGET', ARGV[1] .. id, 'state') == ARGV[2] then
      if from_tail(place) == id then
        return place + 1
      end
      -- A search walks the list: a few of them are enough to find a mark that is still there.
      if searched == 3 then
        return 0
      end
      searched = searched + 1
      local found = redis.call('LPOS', KEYS[1], id, 'RANK', -1)
      place = found and length - 1 - found
      -- Alone it may have gone round and come in again at the head.
      if place and (place == 0 or known[from_tail(place - 1)]) then
        return place + 1
      end
    end
  end
  return 0
end

if #ARGV >= 7 then
  start = resume()
end
local look = ARGV[6] == '1' and outline or describe
local out, seen, read = {}, {}, 0
for from = start, start + tonumber(ARGV[4]) - 1, 100 do
  local to = math.min(from + 99, start + tonumber(ARGV[4]) - 1)
  local ids = redis.call('LRANGE', KEYS[1], -to - 1, -from - 1)
  for i = #ids, 1, -1 do
    local lease = ARGV[2] == 'active' and ARGV[6] == '' and redis.pcall('ZSCORE', KEYS[2], ids[i])
    local task, size = look(ARGV[1], ids[i], false, type(lease) == 'string' and lease)
    out[#out + 1] = task
    seen[#seen + 1] = ids[i]
    read = read + size
    if read >= tonumber(ARGV[5]) then
      return { start + #out, out, seen }
    end
  end
end
return { start + #out, out, seen }
