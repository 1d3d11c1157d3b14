-- batch_claim: a driver takes lines; with its first ticket it begins to work on the batch. Repeatable by its token and
-- ticket.
-- KEYS 1 palaver:{BID}
-- keys used  {BID}:batch and what begins with it
-- ARGV 1 batch id · 2 token of the driver · 3 ticket: 1, 2, … · 4 worker · 5 lease in ms · 6 lines that it can take
--      7 lines that may run at once in all · 8, 9 results that may wait to be stored: how many, and how many bytes
--      10 deaths of drivers after which a line is given up
-- reply ok, why the batch was stopped ('' if not), state, index, deaths of drivers that held it, …
--       states: more (ask again), none (nothing is left that nobody has), over (no result will come any more)
--       | gone | ended, status | fenced
local base, token, ticket, worker, term = KEYS[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local room, window, most, most_bytes = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local deaths_allowed = tonumber(ARGV[10])
-- include clock
-- include batch
local refused = refusal(token)
if refused and (refused[1] ~= 'fenced' or ticket ~= '1') then return refused end
local held = held_by(token)
if refused then
  redis.call('ZADD', leases, int(now + term), token)
  redis.call('HSET', drivers, token, worker)
  redis.call('HSET', batch, 'term', int(term))
  redis.call('HSETNX', batch, 'started', int(now))
  redis.call('HDEL', batch, 'calls')
  keep(leases)
  keep(drivers)
end
expire_if_due()

-- How many more it may have: of the lines that run at once each driver has its share.
local function allowance()
  if redis.call('LLEN', results) >= most or tonumber(redis.call('HGET', batch, 'bytes') or 0) >= most_bytes then return 0 end
  if stop == 'expired' then return room end
  local share = math.ceil(window / redis.call('ZCARD', leases))
  return math.min(room, share - redis.call('ZCARD', held), window - running)
end

local function is_last_try(line)
  return stop == '' and tonumber(redis.call('HGET', deaths, line) or 0) == deaths_allowed - 1
end

-- Of lines that died together one is guilty, as a rule. So each has its last try beside no other in its last: the
-- guilty one takes none of them along. (Those of a batch that is stopped are not tried.)
local LOOKED_AT = 1000
local function take_returned(count)
  local indexes, lines, beside = {}, redis.call('ZRANGE', returned, 0, count + LOOKED_AT), false
  if #lines == 0 then return indexes end
  for _, line in ipairs(redis.call('ZRANGE', held, 0, -1)) do beside = beside or is_last_try(line) end
  for _, line in ipairs(lines) do
    if #indexes == count then break end
    local last = is_last_try(line)
    if not (last and beside) then
      redis.call('ZREM', returned, line)
      indexes[#indexes + 1] = line
      beside = beside or last
    end
  end
  return indexes
end

local function take(count)
  -- The first write is never refused for memory, and what follows in one script is not either.
  redis.call('HDEL', batch, '_')
  local indexes = take_returned(count)
  while #indexes < count and next_index < total do
    indexes[#indexes + 1] = int(next_index)
    next_index = next_index + 1
  end
  for _, line in ipairs(indexes) do redis.call('ZADD', held, ticket, line) end
  if #indexes > 0 then
    redis.call('HSET', batch, 'next', int(next_index))
    run_by(#indexes)
    keep(held)
  end
  return indexes
end

local indexes = redis.call('ZRANGEBYSCORE', held, ticket, ticket)
if #indexes == 0 and any_left() then
  local count = allowance()
  if count > 0 then indexes = take(count) end
end
advance()
local reply = {'ok', stop, any_left() and 'more' or is_over() and 'over' or 'none'}
for _, line in ipairs(indexes) do
  reply[#reply + 1] = tonumber(line)
  reply[#reply + 1] = tonumber(redis.call('HGET', deaths, line) or 0)
end
return reply
