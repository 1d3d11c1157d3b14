-- batch_results: results of a batch in order of completion: those that are not stored yet, or the part that has them.
-- KEYS 1 palaver:{BID}
-- keys used  {BID}:batch and what begins with it
-- ARGV 1 the result before them, counted from 1 · 2, 3 so many results, and about so many bytes at most
-- reply ok, status, how many there are, how many are stored, part FIRST-LAST with the next one ('' if it is not stored),
--       result, … | gone
local base, after, most, most_bytes = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local AT_ONCE = 50
-- include clock
-- include batch
if not status then return {'gone'} end
local n, flushed = unpack(redis.call('HMGET', batch, 'n', 'flushed'))
n, flushed = tonumber(n or 0), tonumber(flushed or 0)
local reply, bytes = {'ok', status, n, flushed, ''}, 0
if after < flushed then
  reply[5] = redis.call('ZREVRANGEBYSCORE', parts, after + 1, '-inf', 'LIMIT', 0, 1)[1] or ''
  return reply
end
local skipped = after - flushed
for first = skipped, skipped + most - 1, AT_ONCE do
  local found = redis.call('LRANGE', results, first, math.min(first + AT_ONCE, skipped + most) - 1)
  for _, result in ipairs(found) do
    reply[#reply + 1] = result
    bytes = bytes + #result
  end
  if #found < AT_ONCE or bytes >= most_bytes then break end
end
return reply
