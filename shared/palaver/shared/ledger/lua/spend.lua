-- spend: adds what a worker's requests have cost to what their tenant has spent in a month.
-- KEYS 1 palaver:spent:{MONTH/TENANT} hash: `base`, what was spent before this was counted, and `nanos`, what since,
--        both in billionths of a dollar; `by:WORKER`, the number of the worker's last addition
-- ARGV 1 worker · 2 number of the addition: 1, 2, … · 3 nanos · 4 ms to keep it
-- reply ok, nanos spent in all
-- An addition that is repeated has a number that is known. The worker makes one after the other.
local spent, worker, number, nanos, kept_for = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local by = 'by:' .. worker
if tonumber(redis.call('HGET', spent, by) or 0) < tonumber(number) then
  redis.call('HSET', spent, by, number)
  redis.call('HSETNX', spent, 'base', 0)
  redis.call('HINCRBY', spent, 'nanos', nanos)
  redis.call('PEXPIRE', spent, kept_for)
end
local base, since = unpack(redis.call('HMGET', spent, 'base', 'nanos'))
return {'ok', string.format('%d', (base or 0) + (since or 0))}
