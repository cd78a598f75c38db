-- self_test: try every command that scripts call, on a scratch key; nothing of it is left.
--
-- KEYS[1]  scratch          any    asynq:{q}:self-test or qd:{q}:self-test: not there before nor after
-- Returns  names of commands that this user may not call
local key, denied = KEYS[1], {}
local function try(name, ...)
  local reply = redis.pcall(name, ...)
  -- Redis and Valkey word it differently, and before 7.0 without the code.
  if type(reply) == 'table' and reply.err then
    local said = string.lower(reply.err)
    for _, word in ipairs({ 'noperm', 'permission', "executing the script can't" }) do
      if string.find(said, word, 1, true) then
        denied[#denied + 1] = name
        break
      end
    end
  end
end
try('TIME')
try('DEL', key)
try('EXISTS', key)
try('TYPE', key)
try('PTTL', key)
try('SCAN', '0', 'MATCH', key, 'COUNT', 1)
try('GET', key)
try('MEMORY', 'USAGE', key)
try('RENAME', key, key)
try('SET', key, '1', 'EX', 10)
try('STRLEN', key)
try('GETRANGE', key, 0, 0)
try('INCRBY', key, 1)
try('EXPIRE', key, 10)
try('PEXPIRE', key, 10000)
try('EXPIREAT', key, 9999999999)
try('SETEX', key, 10, '1')
try('PERSIST', key)
redis.pcall('DEL', key)
try('HSET', key, 'a', '1')
try('HSETNX', key, 'a', '1')
try('HGET', key, 'a')
try('HMGET', key, 'a')
try('HEXISTS', key, 'a')
try('HINCRBY', key, 'a', 1)
try('HGETALL', key)
try('HDEL', key, 'a')
redis.pcall('DEL', key)
try('LPUSH', key, 'a')
try('RPUSH', key, 'a')
try('LLEN', key)
try('LINDEX', key, 0)
try('LPOS', key, 'a')
try('LRANGE', key, 0, 1)
try('LTRIM', key, 0, 1)
try('LREM', key, 0, 'a')
try('RPOP', key)
--> try('LPOP', key)
redis.pcall('DEL', key)
try('SADD', key, 'a')
try('SISMEMBER', key, 'a')
try('SMEMBERS', key)
try('SRANDMEMBER', key)
try('SSCAN', key, 0)
try('SREM', key, 'a')
redis.pcall('DEL', key)
try('ZADD', key, 1, 'a')
try('ZCARD', key)
try('ZCOUNT', key, 1, 1)
try('ZSCORE', key, 'a')
try('ZRANK', key, 'a')
try('ZMSCORE', key, 'a')
try('ZRANGE', key, 0, 1)
try('ZREMRANGEBYRANK', key, 5, 6)
try('ZREMRANGEBYSCORE', key, 5, 6)
try('ZREM', key, 'a')
redis.pcall('DEL', key)
--> try('XADD', key, '*', 'a', '1')
--> try('XLEN', key)
--> try('XRANGE', key, '-', '+', 'COUNT', 1)
--> try('XTRIM', key, 'MAXLEN', 1)
--> redis.pcall('DEL', key)
return denied
