-- Those who wait at a gate: a line for each tenant, and the tenants take turns. Needs: gate, clock, gate.
-- `tenants` has the time of each line's next turn on a clock that goes one step with each turn; a weight would make the
-- steps of a tenant shorter.
local tenants = gate .. ':tenants'
-- A place that was given is taken within LAPSE, or given to the next. One call gives no more than MOST.
local LAPSE, MOST, STEP_OF_TURN = 10000, 200, 1
local next_look = 0

local function line_of(tenant)
  return gate .. ':line:' .. tenant
end

-- At the end of its tenant's line.
local function join(entry, record)
  local line = line_of(record.tenant)
  redis.call('ZADD', line, redis.call('HINCRBY', gate, 'order', 1), entry)
  redis.call('PEXPIRE', line, int(KEEP + 2 * window))
  redis.call('ZADD', tenants, 'NX', int(number('turn') + STEP_OF_TURN), record.tenant)
  keep_record(entry, record)
end

-- Places that nobody has taken go to the next. Who misses one goes to the end of the line, and the second time out of
-- it: what has not ended a sweep sends again, and it comes anew.
local function lapse()
  for _, entry in ipairs(redis.call('ZRANGE', given, 0, -1)) do
    local record, ends = record_of(entry), tonumber(redis.call('ZSCORE', given, entry))
    if record and ends > now then
      promise(record.size)
    else
      redis.call('ZREM', given, entry)
      if record and not record.lapsed then
        record.lapsed = true
        join(entry, record)
      else
        redis.call('HDEL', records, entry)
      end
    end
  end
end

local function give(entry, record, by)
  record.by = by
  redis.call('ZADD', given, int(now + LAPSE), entry)
  keep_record(entry, record)
  promise(record.size)
  if not record.parked and record.token ~= by then redis.call('PUBLISH', gate .. ':' .. entry, 'given') end
end

-- Gives places in turn, as long as there is room. `by` is the token of the call that does.
local function hand_out(by)
  lapse()
  for _ = 1, MOST do
    next_look = now
    local tenant, turn = unpack(redis.call('ZRANGE', tenants, 0, 0, 'WITHSCORES'))
    if not tenant then break end
    local line = line_of(tenant)
    local entry = redis.call('ZRANGE', line, 0, 0)[1]
    local record = entry and record_of(entry)
    if record then
      next_look = opens_for(record.size)
      if next_look > now then break end
      give(entry, record, by)
      redis.call('HSET', gate, 'turn', turn)
      redis.call('ZADD', tenants, int(tonumber(turn) + STEP_OF_TURN), tenant)
    end
    if entry then redis.call('ZREM', line, entry) end
    if redis.call('EXISTS', line) == 0 then redis.call('ZREM', tenants, tenant) end
  end
  if redis.call('EXISTS', tenants) == 0 then next_look = 0 end
  local first = redis.call('ZRANGE', given, 0, 0, 'WITHSCORES')[2]
  if first and (next_look == 0 or tonumber(first) < next_look) then next_look = tonumber(first) end
end

-- Parked jobs that this call, or the same call before, has given a place that they have not taken yet.
local function to_send(by)
  local found = {}
  for _, entry in ipairs(redis.call('ZRANGE', given, 0, -1)) do
    local record = record_of(entry)
    if record and record.by == by and record.parked then found[#found + 1] = entry end
  end
  return found
end

-- How many are ahead of one who waits, and in how many ms it may have a place, about.
local function prospect(entry, record)
  local ahead = redis.call('ZRANK', line_of(record.tenant), entry)
  if not ahead then return 0, 0 end
  local busy = redis.call('ZCARD', places) + redis.call('ZCARD', given)
  local waiting = redis.call('HLEN', records) - busy
  ahead = ahead * redis.call('ZCARD', tenants) + (redis.call('ZRANK', tenants, record.tenant) or 0)
  ahead = math.max(0, math.min(ahead, waiting - 1))
  local opening = math.max(closed, paused, opens('requests', requests, ahead + 1), opens('tokens', tokens, (ahead + 1) * record.size))
  local seconds = opening - now
  if concurrent > 0 and busy + ahead >= concurrent then
    seconds = math.max(seconds, number('lasted') * (busy + ahead + 1 - concurrent) / concurrent)
  end
  return ahead, math.ceil(math.max(0, seconds))
end
