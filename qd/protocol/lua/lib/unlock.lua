-- Release a uniqueness lock if this task holds it. pcall: the key's name comes from a message.
local function unlock(unique_key, id)
  if unique_key and unique_key ~= '' and redis.pcall('GET', unique_key) == id then
    redis.pcall('DEL', unique_key)
  end
end

-- Delete a task for good, with the lock it may hold.
local function drop_task(prefix, id)
  local task = prefix .. id
  unlock(redis.pcall('HGET', task, 'unique_key'), id)
  redis.call('DEL', task)
end
