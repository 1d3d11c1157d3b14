-- gate_close: a provider has said that nobody is to ask it for a while.
-- KEYS 1 palaver:gate:{NAME}
-- keys used  gate:{NAME} hash
-- ARGV 1 token of the call · 2 ms
-- reply ok, when it opens (ms of Redis time)
local gate, token, ms = KEYS[1], ARGV[1], tonumber(ARGV[2])
-- include clock
-- include ttl
local closed, closer = unpack(redis.call('HMGET', gate, 'closed', 'closer'))
closed = tonumber(closed or 0)
if closer ~= token then
  closed = math.max(closed, now + ms)
  redis.call('HSET', gate, 'closed', int(closed), 'closer', token)
end
redis.call('PEXPIRE', gate, int(86400000 + ms))
return {'ok', closed}
