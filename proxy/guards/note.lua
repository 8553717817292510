-- Notes what became of a request that had a slot.
-- "Too fast" is told to all replicas at once: what they have booked and not taken yet is worth nothing any more, and is
-- forgotten here.
--   KEYS  the account
--   ARGV  "throttled", "answered", "unanswered" or "sent"; when its slot was taken, or which one it was;
--         "throttled": on which channel to tell it; what Retry-After said, or 0; how long requests may wait; the first pause and the longest; the
--         first belief; the time of a step of the lowered pace, how many one "too fast" costs, and the most of them
--         "sent": for how long it counts; all in microseconds
-- The rules are those of pace.py.
local what, at = ARGV[1], number(2)
local account, whole = known()
if not whole and what ~= 'throttled' then return {now} end -- book.lua sees to it
local remembered = 0
if what == 'throttled' then
  local said, max_wait, first, longest, belief = number(4), number(5), number(6), number(7), number(8)
  local step, steps_down, most_steps = number(9), number(10), number(11)
  local steps = math.max(math.ceil(((account.normal or 0) - math.max(now, account.hold or 0)) / step - 1e-6), 0)
  -- Not for a slot that was booked before the pause, by who had not heard of it: that would double it again and again.
  if at >= math.max(account.lowered or 0, account.hold or 0) then
    account.lowered = now
    account.row = (account.row or 0) + 1
    account.trying = nil
    steps = math.min(steps + steps_down, most_steps)
  end
  local row = math.max(account.row or 0, 1)
  local function doubled(span) return math.min(span * 2 ^ (math.min(row, 30) - 1), longest) end
  local pause = doubled(first)
  if said > 0 then pause = row == 1 and said or math.max(said, pause) end
  local believed = math.max(doubled(belief), max_wait)
  account.hold = math.floor(math.max(account.hold or 0, now + math.min(pause, believed)))
  account.normal = account.hold + steps * step
  while #account.log > 0 and account.log[#account.log] > now do table.remove(account.log) end
  remembered = longest
elseif what == 'answered' then
  if (account.row or 0) > 0 and at >= (account.lowered or 0) then account.row, account.trying = 0, nil end
elseif what == 'unanswered' then
  if account.trying == at then account.trying = nil end
else
  for index, each in ipairs(account.log) do
    if each == at then
      table.remove(account.log, index)
      break
    end
  end
  local place = #account.log + 1
  while place > 1 and account.log[place - 1] > now do place = place - 1 end
  table.insert(account.log, place, now)
  remembered = number(3)
end
account.remembered = math.max(account.remembered or 0, math.max(account.hold or 0, now) + remembered)
local last = math.max(account.remembered, account.normal or 0, account.log[#account.log] or 0)
redis.call('SET', KEYS[1], cmsgpack.pack(account), 'PX', math.ceil((last - now) / 1000) + 1000)
if what == 'throttled' then redis.pcall('PUBLISH', ARGV[3], KEYS[1]) end
return {now}
