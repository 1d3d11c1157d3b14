-- spend: what a worker's requests have cost their tenant in a month, and what those that run may cost yet; and whether
-- one more may run.
-- KEYS 1 palaver:spent:{MONTH/TENANT}
-- keys used  KEYS 1 string: billionths of a dollar
--            KEYS 1:by:WORKER string: the number of what this worker has added last
--            KEYS 1:held hash: by worker what its requests may cost that run, and until when that holds, ms of Redis time
-- ARGV 1 worker · 2 number of what it says: 1, 2, … · 3 nanos that were spent · 4 ms to keep the month, 5 the number
--      6 nanos that its requests may cost that run · 7 ms for which that holds, unless it is said again
--      8 nanos that one more may cost, '' if none is to run · 9 nanos that all may cost together, '' for any number
-- reply ok, nanos spent in all, nanos that what runs may cost, 1 if the one more may run (it is among them), else 0
-- What is said again has a number that is known. The worker says one after the other.
-- include clock
local spent, held_by, worker, number = KEYS[1], KEYS[1] .. ':held', ARGV[1], tonumber(ARGV[2])
local said, nanos, kept_for, known_for = KEYS[1] .. ':by:' .. worker, ARGV[3], ARGV[4], ARGV[5]
local own, lease, one_more, hard = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
if nanos ~= '0' and tonumber(redis.call('GET', said) or 0) < number then
  redis.call('SET', said, int(number), 'PX', known_for)
  redis.call('INCRBY', spent, nanos)
  redis.call('PEXPIRE', spent, kept_for)
end
local total, others, may_run = tonumber(redis.call('GET', spent) or 0), 0, 0
local entries = redis.call('HGETALL', held_by)
for i = 1, #entries, 2 do
  local much, until_then = string.match(entries[i + 1], '^(%d+) (%d+)$')
  if tonumber(until_then) <= now then
    redis.call('HDEL', held_by, entries[i])
  elseif entries[i] ~= worker then
    others = others + tonumber(much)
  end
end
if one_more and (not hard or total + others + own + one_more <= hard) then own, may_run = own + one_more, 1 end
if own > 0 then
  redis.call('HSET', held_by, worker, int(own) .. ' ' .. int(now + tonumber(lease)))
  redis.call('PEXPIRE', held_by, 2 * tonumber(lease))
else
  redis.call('HDEL', held_by, worker)
end
return {'ok', int(total), int(others + own), may_run}
