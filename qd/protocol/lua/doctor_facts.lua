-- doctor_facts: everything about some tasks, each with a digest that a repair can hold it to.
--
-- KEYS[1]  pending          LIST   asynq:{q}:pending: only names the node
-- ARGV[1]  prefix           asynq:{q}:
-- ARGV[2]  groups           how many keys of groups follow, behind the prefix
-- ARGV[3..] these keys, then ids
-- Returns  per task: the digest, the message ('' = none), then the list of lib/facts.lua
-- include: facts
local ids = 3 + ARGV[2]
local seen = {}
for i = 3, ids - 1 do
  seen[#seen + 1] = ARGV[i]
end
local more, out = staged(ARGV[1], seen), {}
for i = ids, #ARGV do
  local found = facts(ARGV[1], ARGV[i], more)
  local message = found[4] ~= '' and redis.call('HGET', ARGV[1] .. 't:' .. ARGV[i], 'msg') or ''
  out[#out + 1] = { digest(found), message, found }
end
return out
