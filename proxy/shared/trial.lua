-- Does once what the other scripts do, under a name of its own.
--   KEYS  an entry
-- SET comes first: after another write a server whose memory is full would let it through.
redis.call('SET', KEYS[1], 'x', 'PX', 1000)
redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'x', 'y')
redis.call('HMGET', KEYS[1], 'x', 'y')
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('DEL', KEYS[1])
redis.call('ZADD', KEYS[1], 1, 'x')
redis.call('ZCOUNT', KEYS[1], 0, 1)
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, 0)
redis.call('ZCARD', KEYS[1])
redis.call('ZREM', KEYS[1], 'x')
redis.call('PUBLISH', KEYS[1], 'x')
local time = redis.call('TIME')
return {time[1] * 1000000 + time[2]}
