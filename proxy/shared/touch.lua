-- A replica says that it is there: counts the replicas, and says from when on slots are booked here.
--   KEYS  the replicas; when slots are booked from
--   ARGV  the replica's id; for how many microseconds it counts as there; for how many it was away (0: it was not);
--         in how many microseconds all the others have noticed that this store is back; for how many microseconds after
--         its last sign of life a replica is sure to have sent nothing of its own; 1 if the replica has just begun;
--         until when it waits for an answer, 0 if it does not know this clock yet
-- What a frozen server gets to see only when it goes on is of yesterday, and changes nothing: 0 replicas are answered.
-- When somebody comes back, others that were not heard of for longer than that may have been without the store too, and
-- send by shares of their own until they notice; so may one that comes back until it says so once more, since it may not
-- hear of this answer. Who was away itself while all had to notice may not be the only one. Whoever has just begun and meets
-- nobody is the first of all.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local id, lifetime, away, settling = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local heard, waits_until = tonumber(ARGV[5]), tonumber(ARGV[7])
if waits_until > 0 and now > waits_until then return {now, 0, 0} end
-- What somebody else has put under these names is dropped; so is what is of a clock that was set back.
for index, command in ipairs({'ZCARD', 'GET'}) do
  local found = redis.pcall(command, KEYS[index])
  if type(found) == 'table' and string.find(found.err, 'WRONGTYPE', 1, true) then redis.call('DEL', KEYS[index]) end
end
-- ZADD comes first: after another write a server whose memory is full would let it through, and look well.
redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', now), id)
local set_back = redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.0f', now + heard), '+inf') > 0
local begins = ARGV[6] == '1' and redis.call('ZCARD', KEYS[1]) == 0
redis.call('ZREM', KEYS[1], id)
local unheard = redis.call('ZCOUNT', KEYS[1], '-inf', now - heard) > 0
local alone = away >= heard and redis.call('ZCOUNT', KEYS[1], now - away, '+inf') == 0
redis.call('ZADD', KEYS[1], string.format('%.0f', away > 0 and now - heard - 1 or now), id)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - lifetime))
redis.call('PEXPIRE', KEYS[1], math.ceil(lifetime / 1000))
local from = tonumber(redis.call('GET', KEYS[2]))
if not from or set_back or from > now + settling or (away > 0 and (unheard or alone or now - away < from)) then
  from = begins and 0 or now + settling
  redis.call('SET', KEYS[2], string.format('%.0f', from))
end
return {now, redis.call('ZCARD', KEYS[1]), from}
