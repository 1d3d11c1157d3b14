-- batch_flushed: results are in a part of the file store, and leave the ledger.
-- KEYS 1 palaver:{BID}
-- keys used  {BID}:batch and what begins with it
-- ARGV 1 batch id · 2 token of the driver · 3, 4 first and last result of the part, counted from 1 · 5 their bytes
-- reply ok | busy | gone | ended, status | fenced
local base, token, first, last, bytes = KEYS[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
-- include clock
-- include batch
local refused = refusal(token)
if refused then return refused end
local part = int(first) .. '-' .. int(last)
if redis.call('ZSCORE', parts, part) then return {'ok'} end
local writer, flushed = unpack(redis.call('HMGET', batch, 'writer', 'flushed'))
if writer ~= token or tonumber(flushed or 0) ~= first - 1 then return {'busy'} end
redis.call('LTRIM', results, last - first + 1, -1)
redis.call('ZADD', parts, first, part)
redis.call('HSET', batch, 'flushed', int(last))
redis.call('HINCRBY', batch, 'bytes', int(-bytes))
keep(parts)
return {'ok'}
