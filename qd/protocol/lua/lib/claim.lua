-- Take the tasks of a batch that are this owner's off the active list. To be included after `fence`.

-- What lies near an end of the list is cut off in one piece, and what is not asked for put back: to
-- search for each by itself would cost as much again for every task that others have active there.
-- Returns the ids that were in the list, as keys.
local function take_off(active, ids)
  local taken, found, depth = {}, 0, 0
  local tail = #ids > 0 and near_tail(active, ids[1])
  if #ids > 3 then
    local wanted, kept, reach = {}, {}, 4 * #ids
    for _, id in ipairs(ids) do
      wanted[id] = true
    end
    local part = tail and redis.call('LRANGE', active, -reach, -1) or redis.call('LRANGE', active, 0, reach - 1)
    for i = 1, #part do
      local id = part[tail and #part + 1 - i or i]
      if wanted[id] and not taken[id] then
        taken[id], found, depth = true, found + 1, i
      elseif found < #ids then
        kept[#kept + 1] = id
      end
    end
    if found > 0 then
      local back, put = {}, depth - found
      for i = 1, put do
        back[i] = kept[put + 1 - i]
      end
      if tail then
        redis.call('LTRIM', active, 0, -depth - 1)
      else
        redis.call('LTRIM', active, depth, -1)
      end
      if put > 0 then
        redis.call(tail and 'RPUSH' or 'LPUSH', active, unpack(back, 1, put))
      end
    end
  end
  for _, id in ipairs(ids) do
    if not taken[id] and redis.call('LREM', active, tail and -1 or 1, id) > 0 then
      taken[id] = true
    end
  end
  return taken
end

-- `first`: where in ARGV the tasks begin; `width`: arguments of each, id, low and high being the first.
-- Returns ids, and per task: 1 claimed, 0 gone, -1 stale.
local function claim(active, lease, prefix, owner, first, width)
  local ids, mine, replies = {}, {}, {}
  for at = first, #ARGV, width do
    ids[#ids + 1] = ARGV[at]
  end
  local scores = lease_scores(lease, ids)
  for n, id in ipairs(ids) do
    local at = first + width * (n - 1)
    replies[n] = fence(prefix .. id, owner, scores[n], ARGV[at + 1], ARGV[at + 2])
    if replies[n] == 1 then
      mine[#mine + 1] = id
    end
  end
  local taken = take_off(active, mine)
  for n, id in ipairs(ids) do
    if replies[n] == 1 then
      replies[n] = taken[id] and 1 or -1
      taken[id] = nil
    end
  end
  return ids, replies
end
