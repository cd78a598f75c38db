-- Make room in the archived set: too old, then too many. In pieces, because a call takes 8,000
-- arguments at most; each trimmed task goes with its hash and its lock.
local function trim_archived(prefix, archived, oldest, keep)
  local trimmed = 0
  local function drop(ids)
    for _, id in ipairs(ids) do
      local state = redis.pcall('HGET', prefix .. id, 'state')
      -- A task that says it is elsewhere is not deleted for standing here too.
      if state == 'archived' or not state then
        --> note_move(id, 'archived', '', 'the archive is full, or it was too old')
        drop_task(prefix, id)
      end
    end
    if #ids > 0 then
      redis.call('ZREM', archived, unpack(ids))
    end
    trimmed = trimmed + #ids
    return #ids
  end
  while drop(redis.call('ZRANGE', archived, '-inf', oldest, 'BYSCORE', 'LIMIT', 0, 500)) == 500 do end
  local over = redis.call('ZCARD', archived) - keep
  while over > 0 do
    over = over - drop(redis.call('ZRANGE', archived, 0, math.min(over, 500) - 1))
  end
  return trimmed
end
