-- renew: a worker extends its lease. It ends so long from now, also if the clock was set back meanwhile.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:job:JID hash · {SID}:events stream (its time to live)
-- ARGV 1 session id · 2 job id · 3 fence · 4 lease in ms
-- reply ok, cancel flag, lease end in ms of Redis time | gone | ended, status | fenced
local base, job, fence, term = KEYS[1], KEYS[1] .. ':job:' .. ARGV[2], ARGV[3], tonumber(ARGV[4])
-- include fence
if verdict then return verdict end
-- include clock
-- Begins with a write that is never refused for memory.
redis.call('HDEL', job, '_')
local lease = now + term
redis.call('HSET', job, 'lease', int(lease))
local left = redis.call('PTTL', job)
if redis.call('PTTL', base .. ':events') < left then redis.call('PEXPIRE', base .. ':events', left) end
return {'ok', cancel, lease}
