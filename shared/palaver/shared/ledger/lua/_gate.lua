-- A gate, a profile's or a tenant's: its limits, what of them is used, who has a place. Needs: gate, clock.
-- A record is kept of each request that has a place, was given one, or waits: what it has said of itself, see
-- gate_enter, and `token`, `by` (the token of the call that gave its place), `lapsed`, `size` (tokens that it is counted
-- with), `since`, `heard` (when it asked last, by `awake`). Times are ms of Redis time.
local places, given, records, used = gate .. ':places', gate .. ':given', gate .. ':records', gate .. ':used'
local lines, starts, busy = gate .. ':lines', gate .. ':starts', gate .. ':busy'
local SLICES, KEEP, STEP, SILENCE, GRACE = 40, 86400000, 1000, 4000, 4000

local function number(name)
  return tonumber(redis.call('HGET', gate, name) or 0)
end
-- As the last who has asked has told them: no `of_line` says that places of lines are not counted at this gate.
local limits = cjson.decode(redis.call('HGET', gate, 'limits') or '{}')
local requests, tokens, concurrent, window =
  limits.requests or 0, limits.tokens or 0, limits.concurrent or 0, limits.window or 0
local of_line = limits.of_line
local closed = number('closed')
-- An operator's pause; its end is its key's.
local paused = now + math.max(0, redis.call('PTTL', gate .. ':paused'))
-- A window is counted in slices: each counts until its last moment has left the window. Of their lengths each is a part of
-- all longer ones: what is counted in others is cut anew once, and not later each time where two windows take turns.
local slice_length = 1
while slice_length * 2 * SLICES <= window do slice_length = slice_length * 2 end

local function slice_at(time)
  return math.floor(time / slice_length)
end

local function record_of(entry)
  local record = redis.call('HGET', records, entry)
  return record and cjson.decode(record)
end

local function keep_record(entry, record)
  redis.call('HSET', records, entry, cjson.encode(record))
end

local function usual_key(model)
  return gate .. ':usual:' .. model
end

-- How many tokens the longest of a model's last answers had; nil: nobody knows.
local function usual_of(model)
  return tonumber(redis.call('GET', usual_key(model)) or nil)
end

-- With how many tokens a request is counted until it is known what it uses. Of what it says itself of its answer a part
-- of the limit is believed, and beyond that no more than the answers of its model usually have: or one that asks for
-- more than there is would have everybody wait until nobody uses anything. One that says nothing may be long where all
-- before were short: it is counted with no less than a part of what is guessed, or of the limit.
local BELIEVED, OF_GUESS, OF_LIMIT = 1 / 4, 1 / 4, 1 / 8
local function size_of(record)
  if tokens == 0 then return 0 end
  local least = math.min(record.guess * OF_GUESS, tokens * OF_LIMIT)
  local usual = math.max(usual_of(record.model) or record.guess, least)
  local answer = record.most and math.min(record.most, math.max(usual, tokens * BELIEVED)) or usual
  return math.min(tokens, math.ceil(record.prompt + answer))
end

-- An answer of the model has so many tokens, or so many until now. A longer one than usual counts at once; with each
-- whole one that is shorter it is forgotten by a part.
local FORGOTTEN = 1 / 16
local function learn(record, answer, whole)
  local usual = usual_of(record.model)
  if answer <= (usual or record.guess) and not whole then return end
  if usual and answer < usual then answer = usual + (answer - usual) * FORGOTTEN end
  redis.call('SET', usual_key(record.model), string.format('%.2f', answer), 'PX', int(KEEP + 2 * window))
end

-- What was used in each slice that counts, oldest first, and in all of them. What was counted in slices of another
-- length leaves the window no sooner than it should.
local function usage()
  local slices, by_slice, sum = {}, {}, {requests = 0, tokens = 0}
  local fields, length = redis.call('HGETALL', used), math.max(1, number('slice'))
  for i = 1, #fields, 2 do
    local kind, slice = string.match(fields[i], '^(%a+)(%d+)$')
    slice = slice_at((slice + 1) * length - 1)
    if (slice + 1) * slice_length > now - window then
      if not by_slice[slice] then
        by_slice[slice] = {slice = slice, requests = 0, tokens = 0}
        slices[#slices + 1] = by_slice[slice]
      end
      by_slice[slice][kind] = by_slice[slice][kind] + tonumber(fields[i + 1])
      sum[kind] = sum[kind] + tonumber(fields[i + 1])
    end
  end
  table.sort(slices, function(one, other) return one.slice < other.slice end)
  return slices, sum
end
local slices, in_use = usage()

-- So much more of a kind was used by a request, when it began: what is known only later makes no room in a later window.
local function add_to(record, kind, more)
  local began = slice_at(record.since)
  for _, slice in ipairs(slices) do
    if slice.slice == began then
      redis.call('HINCRBY', used, kind .. int(began), int(more))
      slice[kind] = slice[kind] + more
      in_use[kind] = in_use[kind] + more
    end
  end
end

-- A request has used so many tokens.
local function recount(record, total)
  add_to(record, 'tokens', total - record.size)
  record.size = total
end

-- A request has asked nobody.
local function uncount(record)
  recount(record, 0)
  add_to(record, 'requests', -1)
end

-- What is promised to those who were given a place and have not taken it yet; it counts as used.
local function promise(size)
  in_use.requests = in_use.requests + 1
  in_use.tokens = in_use.tokens + size
end

-- When so much more of a kind has room, for all that is known now.
local function opens(kind, limit, need)
  if limit == 0 then return now end
  local missing = in_use[kind] + need - limit
  if missing <= 0 then return now end
  for _, slice in ipairs(slices) do
    missing = missing - slice[kind]
    if missing <= 0 then return (slice.slice + 1) * slice_length + window end
  end
  return now + window * math.ceil(missing / limit)
end

-- When the next request, of this size, may begin; not after now: now.
local function opens_for(size)
  local opening = math.max(closed, paused, opens('requests', requests, 1), opens('tokens', tokens, size))
  if concurrent > 0 and redis.call('ZCARD', places) + redis.call('ZCARD', given) >= concurrent then
    -- Whoever gives a place back hands it on; a dead worker's ends by itself.
    local first = redis.call('ZRANGE', places, 0, 0, 'WITHSCORES')
    opening = math.max(opening, first[2] and tonumber(first[2]) or now + STEP)
  end
  return opening
end

-- A line has a queue for each kind of what waits in it: jobs, and lines of batches.
local KINDS = {'', 'batch'}

local function queue_of(line, kind)
  return kind .. '=' .. line
end

local function line_of(queue)
  return string.match(queue, '^%a*=(.*)$')
end

local function queue_key(queue)
  return gate .. ':line:' .. queue
end

-- Whether a line has as many places as it may have. The one of nobody, '', has no bound of its own.
local function is_full(line)
  return line ~= '' and (of_line or 0) > 0 and tonumber(redis.call('HGET', busy, line) or 0) >= of_line
end

-- A queue in which somebody waits takes turns, unless its line is full. When its turn comes is looked at when it is the
-- first one.
local function take_turns(line, kind)
  local queue = queue_of(line, kind)
  if is_full(line) or redis.call('EXISTS', queue_key(queue)) == 0 then return end
  if redis.call('ZSCORE', lines, queue) then return end
  local turn = string.format('%.6f', number('turn'))
  redis.call('ZADD', lines, turn, queue)
  redis.call('HSET', starts, queue, turn)
end

local function rest(queue)
  redis.call('ZREM', lines, queue)
  redis.call('HDEL', starts, queue)
end

-- A request has its place no more, if it had one.
local function vacate(entry, record)
  local had_one = redis.call('ZREM', places, entry) + redis.call('ZREM', given, entry) > 0
  if had_one and of_line then
    if redis.call('HINCRBY', busy, record.line, -1) <= 0 then redis.call('HDEL', busy, record.line) end
    for _, kind in ipairs(KINDS) do take_turns(record.line, kind) end
  end
  return had_one
end

-- A request begins: it is counted from now on, and has a place for so long.
local function take(entry, record, term)
  record.since = now
  redis.call('HINCRBY', used, 'requests' .. int(slice_at(now)), 1)
  redis.call('HINCRBY', used, 'tokens' .. int(slice_at(now)), int(record.size))
  redis.call('ZREM', given, entry)
  redis.call('ZADD', places, int(now + term), entry)
  keep_record(entry, record)
end

-- Keeps these slices, of the length that is now.
local function keep_usage(kept)
  slices = kept
  redis.call('DEL', used)
  for _, slice in ipairs(slices) do
    local at = int(slice.slice)
    redis.call('HSET', used, 'requests' .. at, int(slice.requests), 'tokens' .. at, int(slice.tokens))
  end
  redis.call('HSET', gate, 'slice', int(slice_length))
end

-- The clock was set back, by so many ms: nothing is to wait until the old time comes again.
local function set_back(ms)
  for _, list in ipairs({places, given}) do
    for _, entry in ipairs(redis.call('ZRANGE', list, 0, -1)) do redis.call('ZINCRBY', list, int(-ms), entry) end
  end
  closed = math.max(0, closed - ms)
  redis.call('HSET', gate, 'closed', int(closed))
  redis.call('HDEL', gate, 'spared')
  -- All that is in use counts as used now.
  keep_usage({{slice = slice_at(now), requests = in_use.requests, tokens = in_use.tokens}})
end

-- Places of workers that died end. But nobody could renew while Redis stood still: none ends before that is made up for.
-- Who is the next to call when they end tells of no other silence.
local function end_places(seen)
  if seen > 0 and now - math.max(seen, number('spared')) > SILENCE then
    redis.call('HSET', gate, 'spared', int(now + GRACE))
    for _, entry in ipairs(redis.call('ZRANGEBYSCORE', places, '-inf', int(now + GRACE))) do
      redis.call('ZADD', places, int(now + GRACE), entry)
    end
  end
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', places, '-inf', int(now))) do
    local record = record_of(entry)
    if record then vacate(entry, record) end
    redis.call('ZREM', places, entry)
    redis.call('HDEL', records, entry)
  end
end

-- A clock that stands still while nobody calls: of a silence no more than SILENCE counts.
local awake = number('awake')

-- Every call that changes something notes the time; the time of the one before.
local function note_time()
  local seen = number('seen')
  if seen > now + STEP then set_back(seen - now) end
  awake = redis.call('HINCRBY', gate, 'awake', int(math.max(0, math.min(now - seen, SILENCE))))
  redis.call('HSET', gate, 'seen', int(now))
  return seen
end

-- Puts right what time has done.
local function see_to_time()
  local seen = note_time()
  if number('slice') ~= slice_length then keep_usage(slices) end
  for _, field in ipairs(redis.call('HKEYS', used)) do
    local slice = tonumber(string.match(field, '%d+$'))
    if (slice + 1) * slice_length <= now - window then redis.call('HDEL', used, field) end
  end
  end_places(seen)
end

local function raise_all()
  for _, key in ipairs({gate, places, given, records, used, lines, starts, busy}) do
    redis.call('PEXPIRE', key, int(KEEP + 2 * window))
  end
end
