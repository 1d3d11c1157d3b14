-- A batch: what all its scripts read of it, and how lines change hands. An index is not claimed yet (`next` or above),
-- or given back (`returned`), or held by a driver, or it has its result. Needs: base, clock.
local batch = base .. ':batch'
local leases, drivers = batch .. ':leases', batch .. ':drivers'
local returned, deaths, results, parts = batch .. ':returned', batch .. ':deaths', batch .. ':results', batch .. ':parts'

local status, stop, total, next_index, running, expires, kept = unpack(
  redis.call('HMGET', batch, 'status', 'stop', 'total', 'next', 'running', 'expires', 'kept'))
stop, total, next_index, running = stop or '', tonumber(total), tonumber(next_index), tonumber(running or 0)
local spent = batch .. ':spent'
local ended = status == 'completed' or status == 'cancelled' or status == 'expired'

local function held_by(token)
  return batch .. ':held:' .. token
end

-- Every key of a batch lives as long as its hash.
local function keep(key)
  redis.call('PEXPIREAT', key, kept)
end

local function run_by(more)
  running = running + more
  redis.call('HSET', batch, 'running', int(running))
end

-- Beyond its completion window nothing is asked any more: what is left gets an error for a result.
local function expire_if_due()
  if status == 'in_progress' and stop == '' and tonumber(expires) <= now then
    stop = 'expired'
    redis.call('HSET', batch, 'stop', stop)
  end
end

-- Stops feeding. What is done stays, what runs is told by whoever asks next.
local function call_off(why)
  stop, status = why, 'cancelling'
  redis.call('HSET', batch, 'stop', stop, 'status', status, 'cancelling', int(now))
end

local function is_called_off()
  return stop == 'cancel' or stop == 'fail_fast'
end

-- Whether lines are left that nobody has.
local function any_left()
  return not is_called_off() and (next_index < total or redis.call('EXISTS', returned) == 1)
end

-- Whether no result will come any more.
local function is_over()
  return running == 0 and not any_left()
end

local function advance()
  if status == 'in_progress' and is_over() then
    status = 'finalizing'
    redis.call('HSET', batch, 'status', status, 'finalizing', int(now))
  end
end

-- What a driver holds is anybody's again. A line of a driver that died may have killed it: that is counted.
local function give_back(token, died)
  local held = held_by(token)
  redis.call('ZREM', leases, token)
  redis.call('HDEL', drivers, token)
  if redis.call('HGET', batch, 'writer') == token then redis.call('HDEL', batch, 'writer') end
  local indexes = redis.call('ZRANGE', held, 0, -1)
  for _, line in ipairs(indexes) do
    redis.call('ZADD', returned, line, line)
    if died then redis.call('HINCRBY', deaths, line, 1) else redis.call('HDEL', deaths, line) end
  end
  redis.call('DEL', held)
  if #indexes > 0 then
    run_by(-#indexes)
    keep(returned)
    keep(deaths)
  end
end

-- `gone`, `ended` or `fenced`, for a driver that does not work on the batch (any more).
local function refusal(token)
  if not status then return {'gone'} end
  if ended then return {'ended', status} end
  if not redis.call('ZSCORE', leases, token) then return {'fenced'} end
end
