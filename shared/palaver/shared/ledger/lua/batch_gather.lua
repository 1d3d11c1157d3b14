-- batch_gather: results that wait to be stored, for the one driver that stores them as long as it works on the batch.
-- KEYS 1 palaver:{BID}
-- keys used  {BID}:batch and what begins with it
-- ARGV 1 batch id · 2 token of the driver · 3, 4 so many results, and about so many bytes at most
-- reply ok, how many results are stored, '1' if no result will come any more, result, … | busy | gone | ended, status
--       | fenced
local base, token, most, most_bytes = KEYS[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local AT_ONCE = 50
-- include clock
-- include batch
local refused = refusal(token)
if refused then return refused end
local writer, flushed = unpack(redis.call('HMGET', batch, 'writer', 'flushed'))
if writer and writer ~= token and redis.call('ZSCORE', leases, writer) then return {'busy'} end
redis.call('HDEL', batch, '_')
redis.call('HSET', batch, 'writer', token)
local reply, bytes = {'ok', tonumber(flushed or 0), is_over() and '1' or ''}, 0
for first = 0, most - 1, AT_ONCE do
  local found = redis.call('LRANGE', results, first, math.min(first + AT_ONCE, most) - 1)
  for _, result in ipairs(found) do
    reply[#reply + 1] = result
    bytes = bytes + #result
  end
  if #found < AT_ONCE or bytes >= most_bytes then break end
end
return reply
