-- What book.lua and note.lua begin with: reads the account of an application and a shop, KEYS[1].
local function number(index) return tonumber(ARGV[index]) end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- Returns what is known, and false if that is not all: something else stood under the name, or was damaged.
-- Where the clock was set back, all times go back with it: else nothing could be booked until it is where it was.
local function known()
  local packed = redis.pcall('GET', KEYS[1])
  if not packed then return {log = {}, seen = now}, true end
  if type(packed) == 'table' and not string.find(packed.err, 'WRONGTYPE', 1, true) then
    redis.call('GET', KEYS[1]) -- which fails again
  end
  local read, account = pcall(cmsgpack.unpack, packed)
  local sound = read and type(account) == 'table' and type(account.log) == 'table'
  if sound then
    for name, value in pairs(account) do sound = sound and (name == 'log' or type(value) == 'number') end
    for _, at in ipairs(account.log) do sound = sound and type(at) == 'number' end
  end
  if not sound then return {log = {}, seen = now}, false end
  local back = (account.seen or now) - now
  if back > 0 then
    for _, name in ipairs({'hold', 'kept_until', 'late_until', 'lowered', 'normal', 'remembered', 'trying'}) do
      if account[name] then account[name] = account[name] - back end
    end
    for index, at in ipairs(account.log) do account.log[index] = at - back end
  end
  account.seen = now
  return account, true
end
