-- A worker may end or extend a task only while the lease is its own: the owner noted in the hash and
-- a score it wrote itself. `lease` is that score, or `low..high` if it is one of these, an answer being lost.
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

-- Is the score in the set of leases one that its owner may have written? None is there although the owner
-- is right: it was evicted, or lost in a restore; the task is still its own.
local function same_lease(score, lease, owner)
  -- Compared as text first, for that is what it nearly always comes to.
  if score == lease then
    return true
  elseif not score then
    return owner ~= ''
  end
  local low, high = string.match(lease, '^(%d+)%.%.(%d+)$')
  return tonumber(score) >= tonumber(low or lease) and tonumber(score) <= tonumber(high or lease)
end

local function fence(task, owner, score, lease)
  -- pcall: what fails here would leave the rest of a batch half done.
  local found = redis.pcall('HMGET', task, 'state', 'qd_owner')
  if not found.err and not found[1] and redis.call('EXISTS', task) == 0 then
    return 0
  end
  local mine = found[1] == 'active' and (found[2] or '') == owner and same_lease(score, lease, owner)
  return mine and 1 or -1
end
