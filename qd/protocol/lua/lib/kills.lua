-- Who is to blame for a process that was killed: a stranger, or a task that kills its own process?
--
-- Notes the kill and returns a function: is this task the one? It is if each process that was killed
-- in the last minute was running it, and twice nothing else; or a third time, the last time alone.
-- `running` are keys of tasks; too many to be worth a note acquit them all.
local function judge_kill(kills, owner, running, now)
  redis.call('ZREMRANGEBYSCORE', kills, '-inf', now - 60)
  local note = owner
  if #running <= 100 then
    note = note .. '\n' .. table.concat(running, '\n')
  end
  redis.call('ZADD', kills, now, note)
  redis.call('EXPIRE', kills, 60)
  local seen, alone = {}, {}
  local noted = redis.call('ZRANGE', kills, 0, -1)
  for _, one in ipairs(noted) do
    local first, count = nil, 0
    for task in string.gmatch(string.sub(one, (string.find(one, '\n') or #one) + 1), '[^\n]+') do
      seen[task] = (seen[task] or 0) + 1
      first, count = first or task, count + 1
    end
    if count == 1 then
      alone[first] = (alone[first] or 0) + 1
    end
  end
  return function(task)
    return #running == 1 and seen[task] == #noted and (#noted >= 3 or (alone[task] or 0) >= 2)
  end
end
