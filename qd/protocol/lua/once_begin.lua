-- once_begin: claim a side effect that must happen once, or learn what it left behind.
--
-- A claim belongs to one call in one run of one task. The next run of the same task takes it over, for
-- then the run before is dead; anybody else does when its time is over.
--
-- flags: allow-oom
-- KEYS[1]  entry            HASH   qd:once:{key}: state, task, run, call, until, doubt, result
-- ARGV[1]  task             queue and id
-- ARGV[2]  run
-- ARGV[3]  call             sent again, it gets the same answer
-- ARGV[4]  now              milliseconds
-- ARGV[5]  until            milliseconds; the end of the run
-- ARGV[6]  keep             milliseconds that the entry is kept
-- ARGV[7]  doubt            1 = claim it even if a run before may have done it
-- Returns  'done', result; 'mine', doubt (0 or 1); 'doubt'; or 'busy'
-- include: types
local bad = check_types({ [KEYS[1]] = 'hash' })
if bad then
  return bad
end
local found = redis.call('HMGET', KEYS[1], 'state', 'task', 'run', 'call', 'until', 'doubt', 'result')
if found[1] == 'done' then
  return { 'done', found[7] or '' }
end
local doubt = '0'
if found[1] then
  if found[4] == ARGV[3] then
    return { 'mine', found[6] }
  end
  local dead = found[2] == ARGV[1] and found[3] ~= ARGV[2]
  if not dead and tonumber(found[5]) > tonumber(ARGV[4]) then
    return { 'busy' }
  end
  doubt = '1'
  if ARGV[7] == '0' then
    return { 'doubt' }
  end
end
redis.call('HSET', KEYS[1], 'state', 'begun', 'task', ARGV[1], 'run', ARGV[2], 'call', ARGV[3], 'until', ARGV[5], 'doubt', doubt)
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return { 'mine', doubt }
