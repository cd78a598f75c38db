-- Take the tasks of a batch that are this owner's off the active list. To be included after `fence`.

-- Which end of the active list is the id near? A long list is slow to search from the wrong one, and so is
-- a search that goes far only to find that out.
local function near_tail(active, id)
  return redis.call('LPOS', active, id, 'RANK', -1, 'MAXLEN', 64)
end

-- What lies near an end of the list is cut off in one piece, and what is not asked for put back: to
-- search for each by itself would cost as much again for every task that others have active there.
-- Returns the ids that were in the list, as keys.
local function take_off(active, ids)
  local call, taken, found = redis.call, {}, 0
  local tail = #ids > 0 and near_tail(active, ids[1])
  if #ids > 3 then
    local wanted, kept, depth, kept_count, read = {}, {}, 0, 0, 0
    for _, id in ipairs(ids) do
      wanted[id] = true
    end
    -- Read in parts, for mostly the first has nearly all of them.
    while found < #ids and read < 4 * #ids do
      local from, to = read, read + #ids + 15
      local part = tail and call('LRANGE', active, -to - 1, -from - 1) or call('LRANGE', active, from, to)
      local size = #part
      for i = 1, size do
        local id = part[tail and size + 1 - i or i]
        if wanted[id] and not taken[id] then
          taken[id], found, depth = true, found + 1, read + i
        elseif found < #ids then
          kept_count = kept_count + 1
          kept[kept_count] = id
        end
      end
      read = to + 1
      if size <= to - from then
        break
      end
    end
    if found > 0 then
      local back, put = {}, depth - found
      for i = 1, put do
        back[i] = kept[put + 1 - i]
      end
      if tail then
        call('LTRIM', active, 0, -depth - 1)
      else
        call('LTRIM', active, depth, -1)
      end
      if put > 0 then
        call(tail and 'RPUSH' or 'LPUSH', active, unpack(back, 1, put))
      end
    end
  end
  if found < #ids then
    for _, id in ipairs(ids) do
      if not taken[id] and call('LREM', active, tail and -1 or 1, id) > 0 then
        taken[id] = true
      end
    end
  end
  return taken
end

-- Both keys are read before anything is changed: one that holds another type ends the script before it has
-- done anything.
-- `first`: where in ARGV the tasks begin; `width`: arguments of each, id and lease being the first.
-- Returns ids, and per task: 1 claimed, 0 gone, -1 stale.
local function claim(active, lease, prefix, owner, first, width)
  local ids, mine, replies, count, mine_count = {}, {}, {}, 0, 0
  for at = first, #ARGV, width do
    count = count + 1
    ids[count] = ARGV[at]
  end
  local scores = lease_scores(lease, ids)
  for n = 1, count do
    local id = ids[n]
    local mark = fence(prefix .. id, owner, scores[n], ARGV[first + width * (n - 1) + 1])
    replies[n] = mark
    if mark == 1 then
      mine_count = mine_count + 1
      mine[mine_count] = id
    end
  end
  local taken = take_off(active, mine)
  for n = 1, count do
    if replies[n] == 1 then
      replies[n] = taken[ids[n]] and 1 or -1
      taken[ids[n]] = nil
    end
  end
  return ids, replies
end
