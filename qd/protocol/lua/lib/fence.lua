-- A worker may end or extend a task only while the lease is its own: the owner noted in the hash and
-- a score it wrote itself (or may have written: low..high, if an answer was lost).
-- Answers: 1 mine, 0 gone (the task no longer exists), -1 stale (it is somebody else's now).
local function lease_scores(lease, ids)
  local scores = {}
  for from = 1, #ids, 500 do
    local part = redis.call('ZMSCORE', lease, unpack(ids, from, math.min(from + 499, #ids)))
    for i = 1, #part do
      scores[from + i - 1] = part[i]
    end
  end
  return scores
end

local function fence(task, owner, score, low, high)
  -- pcall: what fails here would leave the rest of a batch half done.
  local found = redis.pcall('HMGET', task, 'state', 'qd_owner')
  if found.err then
    return -1
  end
  if not found[1] then
    if redis.call('EXISTS', task) == 0 then
      return 0
    end
    return -1
  end
  if found[1] ~= 'active' or (found[2] or '') ~= owner then
    return -1
  end
  -- Compared as text first, for that is what it nearly always comes to.
  if score and (score ~= low or low ~= high) then
    score = tonumber(score)
    if score < tonumber(low) or score > tonumber(high) then
      return -1
    end
  elseif not score and owner == '' then
    return -1
  end
  -- No lease although the owner is right: it was evicted or lost in a restore; the task is still mine.
  return 1
end

-- Which end of the active list is the id near? A long list is slow to search from the wrong one.
local function near_tail(active, id)
  return redis.call('LPOS', active, id, 'RANK', -1, 'MAXLEN', 256)
end
