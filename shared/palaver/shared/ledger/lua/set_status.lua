-- set_status: says whether a session takes more jobs. One that is not there is left alone.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:session hash
-- ARGV 1 status
-- reply ok, 1 if the session is there
local session, status = KEYS[1] .. ':session', ARGV[1]
local there = redis.call('EXISTS', session)
if there == 1 then redis.call('HSET', session, 'status', status) end
return {'ok', there}
