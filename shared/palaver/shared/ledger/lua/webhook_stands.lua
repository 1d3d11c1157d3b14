-- webhook_stands: how the webhook of an ended job or batch stands; what is gone meanwhile stays gone.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:job:JID hash, or {SID}:batch of the batch that has the session's id
-- ARGV 1 job or batch id · 2 'delivered', 'given up', or how often it failed
-- reply ok
local job, batch, standing = KEYS[1] .. ':job:' .. ARGV[1], KEYS[1] .. ':batch', ARGV[2]
local told = redis.call('EXISTS', job) == 1 and job or batch
if redis.call('EXISTS', told) == 1 then redis.call('HSET', told, 'hook', standing) end
return {'ok'}
