-- batch_end: ends a batch whose results are all stored, by the driver that has stored them.
-- KEYS 1 palaver:{BID}
-- keys used  {BID}:batch and what begins with it · {BID}:session hash · {BID}:events stream
-- ARGV 1 batch id · 2 token of the driver · 3-7 retention
-- reply ok, status, ms of Redis time | busy | gone | fenced
local base, sid, token = KEYS[1], ARGV[1], ARGV[2]
-- include clock
-- include retention
-- include ttl
-- include log
-- include batch
-- include batch_end
if ended then return {'ok', status, now} end
local refused = refusal(token)
if refused then return refused end
local writer, n, flushed = unpack(redis.call('HMGET', batch, 'writer', 'n', 'flushed'))
if writer ~= token or not is_over() or (n or '0') ~= (flushed or '0') then return {'busy'} end
redis.call('HDEL', batch, '_')
redis.call('HSET', batch, 'stored', 1)
end_batch(stop == '' and 'completed' or stop == 'expired' and 'expired' or 'cancelled')
return {'ok', status, now}
