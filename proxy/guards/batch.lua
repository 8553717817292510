-- Whose batch may be under way: one at a time of all replicas, in the order in which they asked.
--   KEYS  the entry of an application and a shop
--   ARGV  who asks; 1 to have it or to go on having it, 0 to give it up, or not to want it any more; for how long it is
--         had, and for how long who waits is remembered, without another sign of life; until when there is somebody who
--         waits for an answer, or 0; all in microseconds
-- Answers 1 if it is had; or 0, and for how long the batch of another one has been under way, or is about to be.
-- What a server that was frozen gets to see only when it goes on is of yesterday: nobody would use it, or give it up.
local function number(index) return tonumber(ARGV[index]) end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local id, wants, lasts, remembered = ARGV[1], number(2) == 1, number(3), number(4)
if wants and number(5) > 0 and now > number(5) then return {now, 0, 0} end
local read, entry = pcall(cmsgpack.unpack, redis.pcall('GET', KEYS[1]))
-- What others have spoiled begins anew.
local sound = read and type(entry) == 'table' and type(entry.line) == 'table' and type(entry.since) == 'number'
sound = sound and (not entry.id or type(entry.till) == 'number')
for _, other in ipairs(sound and entry.line or {}) do
  sound = sound and type(other) == 'table' and type(other.till) == 'number'
end
if not sound then entry = {line = {}, since = now} end
-- An end that is too far off was set before the clock of the server was set back.
if entry.id and (now >= entry.till or entry.till > now + lasts) then
  entry.id, entry.since = nil, now
end

local line, waits = {}, false
for _, other in ipairs(entry.line) do
  local mine = other.id == id
  if mine then other.till = now + remembered end
  if now < other.till and (wants or not mine) then
    line[#line + 1] = other
    waits = waits or mine
  end
end
entry.line = line

local had = 0
if not wants then
  if entry.id == id then
    entry.id, entry.since = nil, now
  end
elseif entry.id == id or (not entry.id and (not line[1] or line[1].id == id)) then
  if entry.id ~= id then
    table.remove(line, 1)
    entry.id, entry.since = id, now
  end
  entry.till, had = now + lasts, 1
elseif not waits then
  line[#line + 1] = {id = id, till = now + remembered}
end

if entry.id or line[1] then
  redis.call('SET', KEYS[1], cmsgpack.pack(entry), 'PX', math.ceil((lasts + remembered) / 1000))
else
  redis.call('DEL', KEYS[1])
end
return {now, had, now - entry.since}
