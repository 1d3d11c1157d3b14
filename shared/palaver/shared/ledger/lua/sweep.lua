-- sweep: takes the sweepers' turn for one period, and tells how long ago the last sweep was.
-- KEYS 1 palaver:sweep hash: `last` sweep and `until` when nobody else sweeps, ms of Redis time
-- ARGV 1 period in ms · 2 '1': goes on with the turn that the caller has just had
-- reply ok, ms of Redis time, ms since the last sweep (-1: there was none) | busy
-- include clock
local state = redis.call('HMGET', KEYS[1], 'last', 'until')
if ARGV[2] ~= '1' and tonumber(state[2] or 0) > now then return {'busy'} end
redis.call('HDEL', KEYS[1], '_')
redis.call('HSET', KEYS[1], 'last', int(now), 'until', int(now + tonumber(ARGV[1])))
redis.call('PEXPIRE', KEYS[1], 3600000)
return {'ok', now, state[1] and now - tonumber(state[1]) or -1}
