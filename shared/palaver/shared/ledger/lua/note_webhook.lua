-- note_webhook: how the webhook of an ended job stands; a job that is gone meanwhile stays gone.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:job:JID hash
-- ARGV 1 job id · 2 'delivered', 'given up', or how often it failed
-- reply ok
local job, standing = KEYS[1] .. ':job:' .. ARGV[1], ARGV[2]
if redis.call('EXISTS', job) == 1 then redis.call('HSET', job, 'hook', standing) end
return {'ok'}
