-- spend: what a worker's requests have cost their tenant in a month, and what those that run may cost yet; and whether
-- one more may run.
-- KEYS 1 palaver:spent:{MONTH/TENANT}
-- keys used  KEYS 1 hash: `base`, what was spent before this was counted, and `nanos`, what since, both in billionths of
--            a dollar; `by:WORKER`, the number of what the worker has said last
--            KEYS 1:held hash: by worker what its requests may cost that run, and until when that holds, ms of Redis time
-- ARGV 1 worker · 2 number of what it says: 1, 2, … · 3 nanos that were spent · 4 ms to keep them
--      5 nanos that its requests may cost that run · 6 ms for which that holds, unless it is said again
--      7 nanos that one more may cost, '' if none is to run · 8 nanos from which on none may, '' for any number
-- reply ok, nanos spent in all, nanos that what runs may cost, 1 if the one more may run (it is among them), else 0
--       | unbegun: nobody has said what was spent before; nothing was added
-- What is said again has a number that is known. The worker says one after the other.
-- include clock
local spent, held_by, worker, number = KEYS[1], KEYS[1] .. ':held', ARGV[1], tonumber(ARGV[2])
local nanos, kept_for = ARGV[3], ARGV[4]
local own, lease, one_more, hard = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
if redis.call('HEXISTS', spent, 'base') == 0 then return {'unbegun'} end
local by = 'by:' .. worker
if tonumber(redis.call('HGET', spent, by) or 0) < number then
  redis.call('HSET', spent, by, int(number))
  redis.call('HINCRBY', spent, 'nanos', nanos)
  redis.call('PEXPIRE', spent, kept_for)
end
local base, since = unpack(redis.call('HMGET', spent, 'base', 'nanos'))
local total, others, may_run = base + since, 0, 0
local entries = redis.call('HGETALL', held_by)
for i = 1, #entries, 2 do
  local much, until_then = string.match(entries[i + 1], '^(%d+) (%d+)$')
  if tonumber(until_then) <= now then
    redis.call('HDEL', held_by, entries[i])
  elseif entries[i] ~= worker then
    others = others + tonumber(much)
  end
end
if one_more and (not hard or total + others + own < hard) then own, may_run = own + one_more, 1 end
if own > 0 then
  redis.call('HSET', held_by, worker, int(own) .. ' ' .. int(now + tonumber(lease)))
  redis.call('PEXPIRE', held_by, 2 * tonumber(lease))
else
  redis.call('HDEL', held_by, worker)
end
return {'ok', int(total), int(others + own), may_run}
