-- messages: the session's history, and what the job that has the turn will add to it first. Reads only.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:messages list · {SID}:session hash · {SID}:job:JID hash
-- reply messages as JSON, those of the active job as JSON, one a line
local base = KEYS[1]
local active = redis.call('HGET', base .. ':session', 'active')
local pending = active and redis.call('HGET', base .. ':job:' .. active, 'user')
return {redis.call('LRANGE', base .. ':messages', 0, -1), pending or ''}
