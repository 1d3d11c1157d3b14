-- set_status: says whether a conversation's session takes more jobs. A session that was never opened is left alone.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:session hash
-- ARGV 1 status
-- reply ok, 1 if the session is there
local session, status = KEYS[1] .. ':session', ARGV[1]
local there = redis.call('HEXISTS', session, 'created')
if there == 1 then redis.call('HSET', session, 'status', status) end
return {'ok', there}
