-- ready_leave: a job that waited for a worker has ended, or was refused.
-- KEYS 1 palaver:ready:{all}
-- keys used  as ready_enter
-- ARGV 1 SID/JID
-- reply ok
local ready, entry = KEYS[1], ARGV[1]
-- include clock
-- include ready
redis.call('HDEL', ready, '_')
drop(entry)
return {'ok'}
