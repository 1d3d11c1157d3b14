-- Those who wait at a gate: at a profile's a line for each tenant, at a tenant's one for each user; and their queues take
-- turns. Needs: gate, clock, gate.
-- `starts` has when the last turn of a queue ended, on a clock that goes on with the turns, and `lines` when its next one
-- ends (self-clocked fair queueing: whose turn ends first has it). One whose line may have no more places is in neither.
-- A place that was given to a parked job is taken within LAPSE, or given to the next. Who is not parked asks each second,
-- and is not there any more when it was not heard for ALIVE, which is longer than SILENCE. One call gives no more than MOST.
local LAPSE, ALIVE, MOST = 10000, 6000, 200
local next_look = 0

-- What goes on with something goes before what has not begun.
local AHEAD = 2 ^ 50

-- A line is kept as all else of the gate is, as long as somebody in it asks.
local function raise_line(record)
  redis.call('PEXPIRE', queue_key(queue_of(record.line, record.kind)), int(KEEP + 2 * window))
end

-- At the end of its line, or `ahead`: behind those who came ahead too.
local function join(entry, record, ahead)
  local queue = queue_of(record.line, record.kind)
  redis.call('ZADD', queue_key(queue), int(redis.call('HINCRBY', gate, 'order', 1) - (ahead and AHEAD or 0)), entry)
  raise_line(record)
  take_turns(record.line, record.kind)
  -- Another one is first there, whose turn is looked at when it could come.
  if ahead then redis.call('ZADD', lines, 'XX', redis.call('HGET', starts, queue) or 0, queue) end
  keep_record(entry, record)
end

-- Whether it has a place, was given one, or waits for one. One in whose line nobody has asked for too long does not.
local function stands(entry, record)
  for _, list in ipairs({queue_key(queue_of(record.line, record.kind)), places, given}) do
    if redis.call('ZSCORE', list, entry) then return true end
  end
  return false
end

-- Whoever has ended waits no more, and what it was given is free.
local function forget(entry, record)
  if record then
    vacate(entry, record)
    local queue = queue_of(record.line, record.kind)
    redis.call('ZREM', queue_key(queue), entry)
    if redis.call('EXISTS', queue_key(queue)) == 0 then rest(queue) end
  end
  redis.call('HDEL', records, entry)
end

-- An older version does not note when one asked last.
local function is_gone(record)
  return not record.parked and awake - (record.heard or awake) > ALIVE
end

-- A place is given to it, or kept for it.
local function offer(entry, record)
  redis.call('ZADD', given, int(now + (record.parked and LAPSE or ALIVE)), entry)
end

-- Places that nobody has taken go to the next. A parked job that misses one goes to the end of the line, and the second
-- time out of it: what has not ended a sweep sends again, and it comes anew.
local function lapse()
  for _, entry in ipairs(redis.call('ZRANGE', given, 0, -1)) do
    local record, ends = record_of(entry), tonumber(redis.call('ZSCORE', given, entry))
    if record and ends > now then
      promise(record.size)
    else
      if record then vacate(entry, record) end
      redis.call('ZREM', given, entry)
      if record and record.parked and not record.lapsed then
        record.lapsed = true
        join(entry, record)
      else
        redis.call('HDEL', records, entry)
      end
    end
  end
end

local function give(entry, record, by)
  record.by, record.size = by, size_of(record)
  offer(entry, record)
  if of_line then redis.call('HINCRBY', busy, record.line, 1) end
  keep_record(entry, record)
  promise(record.size)
  if not record.parked and record.token ~= by then redis.call('PUBLISH', gate .. ':' .. entry, 'given') end
end

-- How long a turn is: where tokens are limited, one for more of them than each of so many requests in a window could
-- have is as much longer. So nobody has more of what is scarce by larger requests.
local TURNS = 100
local function length_of(record)
  if tokens == 0 then return 1 end
  return math.max(1, size_of(record) * (requests > 0 and requests or TURNS) / tokens)
end

-- A tenant with a weight of 3 has three turns while another one has one, for all its kinds together.
local function weight_of(record)
  local waiting = 0
  for _, kind in ipairs(KINDS) do
    if redis.call('ZSCORE', lines, queue_of(record.line, kind)) then waiting = waiting + 1 end
  end
  return record.weight / math.max(1, waiting)
end

-- Whose turn it is: the queue, when that ends, and who is first there.
local function next_turn()
  while true do
    local queue, known = unpack(redis.call('ZRANGE', lines, 0, 0, 'WITHSCORES'))
    if not queue then return nil end
    local entry = redis.call('ZRANGE', queue_key(queue), 0, 0)[1]
    local record = entry and record_of(entry)
    if not entry or is_full(line_of(queue)) then
      rest(queue)
    elseif not record or is_gone(record) then
      redis.call('ZREM', queue_key(queue), entry)
      redis.call('HDEL', records, entry)
    else
      local start = tonumber(redis.call('HGET', starts, queue) or number('turn'))
      local turn = start + length_of(record) / weight_of(record)
      if math.abs(turn - tonumber(known)) < 0.00001 then return queue, known, entry, record end
      redis.call('ZADD', lines, string.format('%.6f', turn), queue)
    end
  end
end

local function waiting()
  return redis.call('HLEN', records) - redis.call('ZCARD', places) - redis.call('ZCARD', given)
end

-- When somebody should look at the gate if nobody calls before; 0: nothing is to be done then.
local function see_when_to_look()
  if not next_turn() then
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
    local queue, turn, entry, record = next_turn()
    if not queue then break end
    next_look = opens_for(size_of(record))
    if next_look > now then break end
    give(entry, record, by)
    redis.call('ZREM', queue_key(queue), entry)
    -- A turn that began long ago may end before the last one has.
    redis.call('HSET', gate, 'turn', string.format('%.6f', math.max(number('turn'), tonumber(turn))))
    redis.call('HSET', starts, queue, turn)
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
  local queue = queue_of(record.line, record.kind)
  local in_line = redis.call('ZRANK', queue_key(queue), entry)
  if not in_line then return 0, 0 end
  local ahead = in_line * redis.call('ZCARD', lines) + (redis.call('ZRANK', lines, queue) or 0)
  ahead = math.max(in_line, math.min(ahead, waiting() - 1))
  local opening = math.max(closed, paused, opens('requests', requests, ahead + 1),
    opens('tokens', tokens, (ahead + 1) * size_of(record)))
  local taken, of_its_line = redis.call('ZCARD', places) + redis.call('ZCARD', given), redis.call('HGET', busy, record.line)
  local own = record.line ~= '' and time_for(in_line, tonumber(of_its_line or 0), of_line or 0) or 0
  return ahead, math.ceil(math.max(0, opening - now, time_for(ahead, taken, concurrent), own))
end
