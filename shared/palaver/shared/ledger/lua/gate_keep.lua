-- gate_keep: a worker renews the places that it holds.
-- KEYS 1 palaver:gate:{NAME}
-- keys used  …:places zset · …:records hash
-- ARGV 1 ms from now · 2… SID/JID, token of the request, …
-- reply ok
local gate, term = KEYS[1], tonumber(ARGV[1])
local places, records = gate .. ':places', gate .. ':records'
-- include clock
-- Begins with a write that is never refused for memory.
redis.call('HDEL', gate, '_')
for i = 2, #ARGV, 2 do
  local entry, token = ARGV[i], ARGV[i + 1]
  local record = redis.call('HGET', records, entry)
  if record and cjson.decode(record).token == token and redis.call('ZSCORE', places, entry) then
    redis.call('ZADD', places, int(now + term), entry)
  end
end
redis.call('HSET', gate, 'seen', int(now))
redis.call('PEXPIRE', gate, 86400000)
return {'ok'}
