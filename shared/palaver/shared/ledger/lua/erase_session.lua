-- erase_session: removes the rest of a session whose jobs are gone, in one step: nothing is stored with half a one.
-- KEYS 1 palaver:{SID} · 2… all keys of the session that are no job's
-- keys used  {SID}:jobs zset · {SID}:ended zset · those of KEYS
-- reply ok, how many keys there were | jobs: it has some, which are to go first
local base = KEYS[1]
if redis.call('EXISTS', base .. ':jobs', base .. ':ended') > 0 then return {'jobs'} end
return {'ok', redis.call('UNLINK', unpack(KEYS, 2))}
