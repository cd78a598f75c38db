-- heed: end active tasks as another script says, but as done those of which somebody has said so meanwhile
-- (`poll_done`). A batch, each task fenced.
--
-- The other script is `take_in` here: complete, retry or archive. Its arguments begin with task_prefix and
-- owner, those of each task with id and lease.
--
-- flags: allow-oom
-- KEYS[1]  active           LIST   asynq:{q}:active
-- KEYS[2]  lease            ZSET   asynq:{q}:lease
-- KEYS[3]  completed        ZSET   asynq:{q}:completed
-- KEYS[4]  processed        STRING asynq:{q}:processed
-- KEYS[5]  processed_day    STRING asynq:{q}:processed:YYYY-MM-DD
-- KEYS[..] the keys of the other script
-- ARGV[1]  task_prefix      asynq:{q}:t:
-- ARGV[2]  owner
-- ARGV[3]  stats_expire_at  Unix seconds
-- ARGV[4]  completed        fields of a message: when it was completed
-- ARGV[5]  count            tasks
-- ARGV[6]  head             how many arguments of the other script come before its tasks
-- ARGV[7]  width            how many arguments a task has there
-- ARGV[8]  result_at        where among them has_result and result stand, from 0; 0 = it knows of none
-- ARGV[9]  failure_at       where is_failure stands, from 0; 0 = it knows of none
-- ARGV[10..] per task: unique_key ('' = none), keep_until (0 = nothing is kept); then the other's arguments
-- Returns  what the other script says, and per task that was ended as done: 2, 0 gone, -1 stale
-- include: types
-- include: fence
-- include: stats
-- include: unlock
-- include: told
local bad = check_types({ [KEYS[1]] = 'list', [KEYS[2]] = 'zset', [KEYS[3]] = 'zset' })
if bad then
  return bad
end
local count, head, width = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local first = 10 + 2 * count
local part, places, told = { unpack(ARGV, first, first + head - 1) }, {}, {}
for n = 1, count do
  local at = first + head + width * (n - 1)
  local said = redis.pcall('HGET', ARGV[1] .. ARGV[at], 'qd_told')
  if type(said) == 'string' then
    told[n] = said
  else
    places[#places + 1] = n
    for i = at, at + width - 1 do
      part[#part + 1] = ARGV[i]
    end
  end
end
-- First, for it may refuse.
local answers = take_in({ unpack(KEYS, 6, #KEYS) }, part)
if answers.err then
  return answers
end
local replies, ended = {}, 0
for i, n in ipairs(places) do
  replies[n] = answers[i]
  local at = first + head + width * (n - 1)
  local failure_at = at + tonumber(ARGV[9])
  if answers[i] == 1 and failure_at > at and ARGV[failure_at] == '0' then
    -- A poll lives through many processes. Whose look has ended well is not what kills them.
    redis.call('HDEL', ARGV[1] .. ARGV[at], 'qd_deaths', 'qd_spared', 'qd_cause')
  end
end
for n, result in pairs(told) do
  local at = first + head + width * (n - 1)
  local id = ARGV[at]
  local mine = fence(ARGV[1] .. id, ARGV[2], lease_scores(KEYS[2], { id })[1], ARGV[at + 1])
  if mine == 1 and redis.call('LREM', KEYS[1], 1, id) == 0 then
    mine = -1
  end
  if mine == 1 then
    redis.call('ZREM', KEYS[2], id)
    local result_at = at + tonumber(ARGV[8])
    if result == '' and result_at > at and ARGV[result_at] == '1' then
      result = '=' .. ARGV[result_at + 1]
    end
    end_told(ARGV[1], id, 'active', ARGV[8 + 2 * n], KEYS[3], ARGV[9 + 2 * n], ARGV[4], result)
    ended = ended + 1
    mine = 2
  end
  replies[n] = mine
end
bump(KEYS[5], KEYS[4], ended, ARGV[3])
-- What the other script says of all of them together.
for i = #places + 1, #answers do
  replies[count + i - #places] = answers[i]
end
return replies
