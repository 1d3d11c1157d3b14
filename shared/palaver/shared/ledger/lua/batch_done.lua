-- batch_done: a driver has results of lines that it holds. What it does not hold (any more) is left out, so a repeat
-- and a driver that was given up count nothing.
-- KEYS 1 palaver:{BID}
-- keys used  {BID}:batch and what begins with it · {BID}:session hash · {BID}:events stream
-- ARGV 1 batch id · 2 token of the driver · 3-7 retention
--      8… index, error as JSON ('' for an answer), tokens, billionths of a dollar ('' if not known), result, of how many
--      words it says what it has spent, and those: field, how much, …; …
-- reply ok, why the batch was stopped ('' if not), results that wait to be stored, their bytes | gone | ended, status
--       | fenced
local base, sid, token = KEYS[1], ARGV[1], ARGV[2]
local FIRST, FIELDS, PERIOD = 8, 6, 1000
-- include clock
-- include retention
-- include ttl
-- include log
-- include batch
-- include batch_end
local refused = refusal(token)
if refused then return refused end
-- The first write is never refused for memory, and what follows in one script is not either.
redis.call('HDEL', batch, '_')
local held = held_by(token)
local completed, failed, tokens, nanos, bytes, first_error = 0, 0, 0, 0, 0, nil
local sums = {}
local i = FIRST
while i <= #ARGV do
  local index, failure, used, cost, result, words = unpack(ARGV, i, i + FIELDS - 1)
  local first_word = i + FIELDS
  i = first_word + tonumber(words)
  if redis.call('ZREM', held, index) == 1 then
    redis.call('RPUSH', results, result)
    redis.call('HDEL', deaths, index)
    if failure == '' then completed = completed + 1 else failed, first_error = failed + 1, first_error or failure end
    tokens, bytes = tokens + tonumber(used), bytes + #result
    if cost == '' then redis.call('HSET', batch, 'unpriced', 1) else nanos = nanos + tonumber(cost) end
    for j = first_word, i - 1, 2 do sums[ARGV[j]] = (sums[ARGV[j]] or 0) + tonumber(ARGV[j + 1]) end
  end
end
local done = completed + failed
if done > 0 then
  for field, more in pairs({completed = completed, failed = failed, tokens = tokens, nanos = nanos, bytes = bytes, n = done}) do
    redis.call('HINCRBY', batch, field, int(more))
  end
  for field, more in pairs(sums) do redis.call('HINCRBY', spent, field, int(more)) end
  run_by(-done)
  keep(spent)
  keep(results)
end
local fail_fast, told = unpack(redis.call('HMGET', batch, 'fail_fast', 'told'))
if fail_fast and first_error and status == 'in_progress' and stop == '' then
  call_off('fail_fast')
  redis.call('HSET', batch, 'error', first_error)
end
expire_if_due()
advance()
if done > 0 and math.abs(now - tonumber(told or 0)) >= PERIOD then tell_progress() end
return {'ok', stop, redis.call('LLEN', results), tonumber(redis.call('HGET', batch, 'bytes') or 0)}
