-- Books slots: the next ones in time that keep at most so many in any window, among those that others have booked.
--   KEYS  the account of an application and a shop; when slots are booked from
--   ARGV  how many requests in a window; the window; how much later than booked a slot may be used, for which the window
--         is kept longer; how many slots are wanted; how long they may be waited for; how long after a store is back it
--         books nothing, and how much longer for this window; the time of one step of the lowered pace, and how many
--         halve it; how long one that tries after a pause may take; all in microseconds; until when there is somebody
--         who waits for an answer, or 0; then the times of slots that are given back
-- Answers 0, how many "too fast" came in a row, and the times of the slots; or that none is booked: 1 and in how long
-- the first would be had; 2 and how long another one tries at the most; 3 and when the first will be booked; 4 if it
-- comes too late, as from a server that was frozen: nobody would use the slots.
-- The log is in order of time, what is past the window is forgotten. Replicas that are farther away use their slots
-- later: as long as slots of theirs are in the log, the longest such time counts for all. Where replicas keep different
-- limits, as while a changed one is rolled out, the log is kept for the longest window of late.
-- Where the account was lost, one window passes before anything is booked.
local requests, window, late, wanted, patience = number(1), number(2), number(3), number(4), number(5)
local settling, quiet, step, steps_down, longest_try = number(6), number(7), number(8), number(9), number(10)
if number(11) > 0 and now > number(11) then return {now, 4, 0} end
local from = tonumber(redis.call('GET', KEYS[2]))
if not from or from > now + settling then -- none, or of a clock that was set back
  from = now + settling
  redis.call('SET', KEYS[2], string.format('%.0f', from))
end
local account, whole = known()
if late >= (account.late or 0) or now >= (account.late_until or 0) then account.late = late end
window = window + account.late
if not whole then account.hold = now + window end
if window >= (account.kept or 0) or now >= (account.kept_until or 0) then account.kept = window end
if account.kept == window then account.kept_until = now + window end

local returned = {}
for index = 12, #ARGV do
  local at = number(index)
  returned[at] = (returned[at] or 0) + 1
  if account.trying == at then account.trying = nil end
end
local log = {}
for _, at in ipairs(account.log) do
  if (returned[at] or 0) > 0 then
    returned[at] = returned[at] - 1
  elseif at > now - account.kept then
    log[#log + 1] = at
  end
end

-- The first time from `at` on at which one more keeps the limit.
local function free(at)
  while true do
    local before = #log
    while before > 0 and log[before] > at do before = before - 1 end
    local later
    for first = math.max(1, before - requests + 1), before + 1 do
      local last = first + requests - 1
      if last > #log then break end
      if math.max(log[last], at) - math.min(log[first], at) < window then
        later = first <= before and log[first] + window or log[first]
        break
      end
    end
    if not later then return at end
    at = later
  end
end

local function keep()
  account.log = log
  local last = math.max(now, log[#log] or 0, account.hold or 0, account.normal or 0, account.remembered or 0)
  redis.call('SET', KEYS[1], cmsgpack.pack(account), 'PX', math.ceil((last - now + account.kept) / 1000) + 1000)
end

if wanted == 0 then
  keep()
  return {now, 0, 0}
end
if now < from + quiet then
  keep()
  return {now, 3, from + quiet}
end
local row = account.row or 0
if row > 0 then
  if account.trying and now < account.trying + longest_try then return {now, 2, account.trying + longest_try - now} end
  wanted = 1
end
local earliest = math.max(now, account.hold or 0)
local normal = account.normal or 0
if now < normal then
  wanted = 1
  local steps = math.ceil((normal - earliest) / step - 1e-6)
  local spacing = window / requests * 2 ^ (math.max(steps, 0) / steps_down)
  earliest = math.max(earliest, math.floor((log[#log] or 0) + spacing))
end
local booked = {now, 0, row}
for index = 1, wanted do
  local at = free(earliest)
  if index == 1 and at - now > patience then
    keep()
    return {now, 1, at - now}
  end
  if index > 1 and at > booked[4] + 10000 then break end
  local place = #log + 1
  while place > 1 and log[place - 1] > at do place = place - 1 end
  table.insert(log, place, at)
  booked[index + 3] = at
end
if row > 0 then account.trying = booked[4] end
if account.late == late then account.late_until = log[#log] + window end
keep()
return booked
