-- spend: what a worker's requests have cost their tenant in a month, and what those that run may cost yet; and whether
-- one more may run.
-- KEYS 1 palaver:spent:{MONTH/TENANT}
-- keys used  KEYS 1 string: billionths of a dollar
--            KEYS 1:by:WORKER string: the number of what this worker has said last
--            KEYS 1:first string: who has waited longest for money, for how much of it, and until when it is kept, ms of Redis time
--            KEYS 1:held hash: by worker what its requests may cost that run, and until when that holds, ms of Redis time
-- ARGV 1 worker · 2 number of what it says: 1, 2, … · 3 nanos that were spent · 4 the number under which it has said
--      these first · 5 ms to keep the month, 6 the number · 7 nanos that its requests may cost that run · 8 ms for which
--      that holds, unless it is said again
--      9 nanos that one more may cost, '' if none is to run · 10 nanos that all may cost together, '' for any number
--      11 who that is, '' for nobody who waits · 12 look | wait | take: it waits for room and looks again, it is to run now
--      13 ms for which money is kept for who waits, unless it looks again
-- reply ok, nanos spent in all, nanos that what runs may cost, 1 if the one more may run (taken it is among them), else 0,
--       1 if it has waited longest, else 0
-- Others leave what is left to who has waited longest, as long as it looks again.
-- The worker says one after the other. What comes after later words of it changes nothing: nobody waits for its reply.
-- What is not said again in time stays held for GRACE from when that is found, as WORKER .. SPARED: nobody could say it
-- while Redis stood still.
-- include clock
local SPARED, GRACE, MOST = ' spared', 10000, 10 ^ 16
local spent, held_by, worker, number = KEYS[1], KEYS[1] .. ':held', ARGV[1], tonumber(ARGV[2])
local said, nanos, first_said = KEYS[1] .. ':by:' .. worker, ARGV[3], tonumber(ARGV[4])
local kept_for, known_for = ARGV[5], ARGV[6]
local own, lease, one_more, hard = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local who, asks, first_lease, first_by = ARGV[11], ARGV[12], tonumber(ARGV[13]), KEYS[1] .. ':first'
-- Begins with a write that is never refused for memory: what was spent is not to be lost with its worker.
redis.call('HDEL', held_by, '')
local last = tonumber(redis.call('GET', said) or 0)
if number >= last then
  redis.call('SET', said, int(number), 'PX', known_for)
  if nanos ~= '0' and first_said > last then
    redis.call('INCRBY', spent, nanos)
    redis.call('PEXPIRE', spent, kept_for)
  end
  redis.call('HDEL', held_by, worker, worker .. SPARED)
end

local others = 0
local function hold(name, much, until_then)
  others = others + tonumber(much)
  if until_then then redis.call('HSET', held_by, name, much .. ' ' .. int(until_then)) end
end
local entries = redis.call('HGETALL', held_by)
for i = 1, #entries, 2 do
  local name, much, until_then = entries[i], string.match(entries[i + 1], '^(%d+) (%d+)$')
  until_then = tonumber(until_then)
  if until_then > now then
    hold(name, much, until_then > now + lease and now + lease) -- the clock was set back
  else
    redis.call('HDEL', held_by, name)
    if string.sub(name, -#SPARED) ~= SPARED then hold(name .. SPARED, much, now + GRACE) end
  end
end
local total, may_run = tonumber(redis.call('GET', spent) or 0), 0
if number < last then return {'ok', int(total), int(others), 0, 0} end
local first, kept_back, kept_until = string.match(redis.call('GET', first_by) or '', '^(.*) (%d+) (%d+)$')
local function keep_for(name, much)
  first = name
  redis.call('SET', first_by, name .. ' ' .. much .. ' ' .. int(now + first_lease), 'PX', int(first_lease))
end
if first and tonumber(kept_until) <= now then
  first, kept_back = nil, nil
elseif first and tonumber(kept_until) > now + first_lease then -- the clock was set back
  keep_for(first, kept_back)
end
if first == who then kept_back = nil end
if one_more and (not hard or total + others + own + (kept_back or 0) + one_more <= hard) then
  may_run = 1
  if asks == 'take' then
    own = own + one_more
    if first == who then redis.call('DEL', first_by) end
  end
elseif one_more and total + one_more > hard then -- it never may, in this month
  if first == who then
    redis.call('DEL', first_by)
    first = nil
  end
elseif one_more and (first == who or (not first and who ~= '' and asks == 'wait')) then
  keep_for(who, int(one_more))
end
own = math.min(own, MOST) -- of thousands of workers the sum is a whole number yet
if own > 0 then
  redis.call('HSET', held_by, worker, int(own) .. ' ' .. int(now + lease))
  redis.call('PEXPIRE', held_by, known_for)
end
return {'ok', int(total), int(others + own), may_run, first == who and 1 or 0}
