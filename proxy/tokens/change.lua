-- Changes an entry if it is still what it was when it was read.
--   KEYS  the entry
--   ARGV  its generation when it was read ('0': there was none; '': only read it); then the new generation, the new
--         content, and in how many milliseconds it may be forgotten
-- Answers 1 if it was changed, else 0, its generation and its content.
-- What somebody else has put under this name, or is larger than any token with what belongs to it, counts as none.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local found = redis.pcall('HMGET', KEYS[1], 'generation', 'content')
if found.err then
  if not string.find(found.err, 'WRONGTYPE', 1, true) then return found end
  redis.call('DEL', KEYS[1])
end
local generation, content = found[1] or '0', found[2] or ''
if #generation > 16 or not string.find(generation, '^%d+$') or #content > 131072 then generation, content = '0', '' end
if ARGV[1] == generation then
  redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'content', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  return {now, 1}
end
return {now, 0, generation, content}
