-- End a task as done, because somebody else has said so. It must be off its container. To be included
-- after `unlock`. `completed` are fields of a message, put behind the stored one: of a field that comes
-- twice, the later one counts (protobuf docs: "Last One Wins"). `result`: '' = none, else '=' and its bytes.
local function end_told(prefix, id, from, unique_key, completed_set, keep_until, completed, result)
  local task = prefix .. id
  if keep_until == '0' then
    --> note_move(id, from, '', 'told that it is done')
    unlock(unique_key, id)
    redis.call('DEL', task)
    return
  end
  redis.call('ZADD', completed_set, keep_until, id)
  redis.call('HSET', task, 'msg', (redis.call('HGET', task, 'msg') or '') .. completed, 'state', 'completed')
  if result ~= '' then
    redis.call('HSET', task, 'result', string.sub(result, 2))
  end
  redis.call('HDEL', task, 'qd_owner', 'qd_told', 'qd_waits', 'qd_called', 'qd_front', 'pending_since')
  --> note_move(id, from, 'completed', 'told that it is done')
  unlock(unique_key, id)
end
