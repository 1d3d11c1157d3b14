-- note_failures: a worker stores how many provider errors the job has had and where it is in its list of models, so
-- that a takeover goes on from there.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:job:JID hash
-- ARGV 1 session id · 2 job id · 3 fence · 4 failures in all · 5 the place in the list, '' to leave it
--      6 what was spent so far, '' to leave it
-- reply ok, cancel flag, failures stored | gone | ended, status | fenced
local job, fence = KEYS[1] .. ':job:' .. ARGV[2], ARGV[3]
local failures, tries, spent = tonumber(ARGV[4]), ARGV[5], ARGV[6]
-- include fence
if verdict then return verdict end
local stored = tonumber(redis.call('HGET', job, 'failures') or 0)
if failures > stored then
  stored = failures
  redis.call('HSET', job, 'failures', stored)
end
if tries ~= '' then redis.call('HSET', job, 'tries', tries) end
if spent ~= '' then redis.call('HSET', job, 'spent', spent) end
return {'ok', cancel, stored}
