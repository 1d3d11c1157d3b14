-- batch_sweep: a sweeper looks at a batch: takes the lines of drivers whose lease has run out, and says how many drivers
-- are missing.
-- KEYS 1 palaver:{BID}
-- keys used  {BID}:batch and what begins with it
-- ARGV 1 batch id · 2 when the sweep began, ms of Redis time
--      3 and 4: a lease that ran out after the one is left alone until the other, as nobody could renew it
--      5… live workers
-- reply ok, ms of Redis time of the next look, drivers to send for | gone
--       | ended, ms of its end, tenant, what it has spent: [field, how much, …]
local base = KEYS[1]
local began, stopped, spared_until = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local FIRST_WORKER, SOON, PATIENCE, LONGEST, SLOW = 5, 1000, 3000, 60000, 3000
-- include clock
-- include batch
if not status then return {'gone'} end
if ended then
  local at, tenant = unpack(redis.call('HMGET', batch, 'ended', 'tenant'))
  return {'ended', tonumber(at), tenant, redis.call('HGETALL', spent)}
end
redis.call('HDEL', batch, '_')
local live, workers = {}, 0
for i = FIRST_WORKER, #ARGV do
  live[ARGV[i]], workers = true, workers + 1
end
local term = tonumber(redis.call('HGET', batch, 'term') or 0)

local function is_spared(lease)
  -- Redis has stood still since the sweep began, and the next one will know for how long.
  return now > began + SLOW or lease > stopped and now < spared_until
end

local flat = redis.call('ZRANGE', leases, 0, -1, 'WITHSCORES')
for i = 1, #flat, 2 do
  local token, lease = flat[i], tonumber(flat[i + 1])
  if lease > now + term then
    -- The clock was set back. Its driver, if it lives, renews before that.
    redis.call('ZADD', leases, int(now + term), token)
  elseif lease <= now and not is_spared(lease) then
    give_back(token, not live[redis.call('HGET', drivers, token) or ''])
  end
end
expire_if_due()
advance()

local wanted = 0
if any_left() then
  wanted = workers
elseif is_over() then
  wanted = math.min(1, workers)
end
local missing = wanted - redis.call('ZCARD', leases)
if missing <= 0 then return {'ok', int(now + SOON), 0} end
local called, calls = unpack(redis.call('HMGET', batch, 'called', 'calls'))
called, calls = tonumber(called or 0), tonumber(calls or 0)
-- Messages that nobody takes would otherwise be sent for ever: the workers may have no free slot for days.
local patience = math.min(PATIENCE * 2 ^ math.max(0, calls - 1), LONGEST)
if calls > 0 and now < called + patience and called <= now then return {'ok', int(now + SOON), 0} end
redis.call('HSET', batch, 'called', int(now), 'calls', calls + 1)
return {'ok', int(now + SOON), missing}
