-- Refuse to start when a key holds another type: a script that fails half way keeps its first half.
local function check_types(wanted)
  for key, kind in pairs(wanted) do
    local found = redis.call('TYPE', key).ok
    if found ~= 'none' and found ~= kind then
      return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. kind)
    end
  end
end
