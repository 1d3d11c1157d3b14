-- prolong: an archive does not answer, and what it is to get must not go meanwhile.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:job:JID hash · {SID}:session hash
-- ARGV 1 ms that an ended job is kept · 2… job ids
-- reply ok
-- include ttl
local base, session, keep_job = KEYS[1], KEYS[1] .. ':session', ARGV[1]
local FIRST_JOB = 2
for i = FIRST_JOB, #ARGV do raise(base .. ':job:' .. ARGV[i], keep_job) end
raise(session, keep_job)
return {'ok'}
