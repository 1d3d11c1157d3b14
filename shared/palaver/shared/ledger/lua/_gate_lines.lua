-- Those who wait at a gate: at a profile's a line for each tenant, at a tenant's one for each user; and the lines take
-- turns. Needs: gate, clock, gate.
-- `lines` has the time of each line's next turn on a clock that goes one step with each turn, or a part of one for a
-- line with a weight. A line that may have no more places is not in it.
-- A place that was given is taken within LAPSE, or given to the next. One call gives no more than MOST.
local LAPSE, MOST = 10000, 200
local next_look = 0

-- What goes on with something goes before what has not begun.
local AHEAD = 2 ^ 50

-- At the end of its line, or `ahead`: behind those who came ahead too.
local function join(entry, record, ahead)
  local line = line_key(record.line)
  redis.call('ZADD', line, int(redis.call('HINCRBY', gate, 'order', 1) - (ahead and AHEAD or 0)), entry)
  redis.call('PEXPIRE', line, int(KEEP + 2 * window))
  take_turns(record.line)
  keep_record(entry, record)
end

-- Whoever has ended waits no more, and what it was given is free.
local function forget(entry, record)
  if record then
    vacate(entry, record)
    redis.call('ZREM', line_key(record.line), entry)
    if redis.call('EXISTS', line_key(record.line)) == 0 then redis.call('ZREM', lines, record.line) end
  end
  redis.call('HDEL', records, entry)
end

-- Places that nobody has taken go to the next. Who misses one goes to the end of the line, and the second time out of
-- it: what has not ended a sweep sends again, and it comes anew.
local function lapse()
  for _, entry in ipairs(redis.call('ZRANGE', given, 0, -1)) do
    local record, ends = record_of(entry), tonumber(redis.call('ZSCORE', given, entry))
    if record and ends > now then
      promise(record.size)
    else
      if record then vacate(entry, record) end
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
  if of_line then redis.call('HINCRBY', busy, record.line, 1) end
  keep_record(entry, record)
  promise(record.size)
  if not record.parked and record.token ~= by then redis.call('PUBLISH', gate .. ':' .. entry, 'given') end
end

-- The line whose turn it is, and when that was to be.
local function next_line()
  while true do
    local line, turn = unpack(redis.call('ZRANGE', lines, 0, 0, 'WITHSCORES'))
    if not line or redis.call('EXISTS', line_key(line)) == 1 and not is_full(line) then return line, turn end
    redis.call('ZREM', lines, line)
  end
end

local function waiting()
  return redis.call('HLEN', records) - redis.call('ZCARD', places) - redis.call('ZCARD', given)
end

-- When somebody should look at the gate if nobody calls before; 0: nothing is to be done then.
local function see_when_to_look()
  if not next_line() then
    -- Who waits in full lines waits for their places: whoever gives one back hands it on; a dead worker's ends.
    local first = waiting() > 0 and redis.call('ZRANGE', places, 0, 0, 'WITHSCORES')[2]
    next_look = first and tonumber(first) or 0
  end
  local first = redis.call('ZRANGE', given, 0, 0, 'WITHSCORES')[2]
  if first and (next_look == 0 or tonumber(first) < next_look) then next_look = tonumber(first) end
end

-- Gives places in turn, as long as there is room. `by` is the token of the call that does.
local function hand_out(by)
  lapse()
  for _ = 1, MOST do
    next_look = now
    local line, turn = next_line()
    if not line then break end
    local entry = redis.call('ZRANGE', line_key(line), 0, 0)[1]
    local record = record_of(entry)
    if record then
      next_look = opens_for(record.size)
      if next_look > now then break end
      give(entry, record, by)
      redis.call('HSET', gate, 'turn', turn)
      redis.call('ZADD', lines, string.format('%.6f', tonumber(turn) + step_of(line)), line)
    end
    redis.call('ZREM', line_key(line), entry)
  end
  see_when_to_look()
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

-- In how many ms there is a place for one with so many ahead, where so many of at most so many are taken.
local function time_for(ahead, taken, most)
  if most == 0 or taken + ahead < most then return 0 end
  return number('lasted') * (taken + ahead + 1 - most) / most
end

-- How many are ahead of one who waits, and in how many ms it may have a place, about.
local function prospect(entry, record)
  local in_line = redis.call('ZRANK', line_key(record.line), entry)
  if not in_line then return 0, 0 end
  local ahead = in_line * redis.call('ZCARD', lines) + (redis.call('ZRANK', lines, record.line) or 0)
  ahead = math.max(in_line, math.min(ahead, waiting() - 1))
  local opening = math.max(closed, paused, opens('requests', requests, ahead + 1), opens('tokens', tokens, (ahead + 1) * record.size))
  local taken, of_its_line = redis.call('ZCARD', places) + redis.call('ZCARD', given), redis.call('HGET', busy, record.line)
  local own = record.line ~= '' and time_for(in_line, tonumber(of_its_line or 0), of_line or 0) or 0
  return ahead, math.ceil(math.max(0, opening - now, time_for(ahead, taken, concurrent), own))
end
