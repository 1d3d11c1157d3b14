-- webhook_enter: a job or a batch with a webhook comes. Called before it is stored; one that is there stays as it is.
-- KEYS 1 palaver:webhooks:{all}
-- keys used  KEYS 1 zset of tenants by their next turn · KEYS 1:of:TENANT zset of SID/JID by when they are due ·
--       KEYS 1:whose hash: the tenant of each
-- ARGV 1 entry SID/JID · 2 tenant ('' for none) · 3 run_at, ms of Unix time (0: now) · 4 ms from now, when it is due if
--      run_at is not later
-- reply ok
local webhooks, entry, named, run_at, delay = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
-- include clock
-- include webhooks
redis.call('HSETNX', whose, entry, named)
local tenant = redis.call('HGET', whose, entry)
redis.call('ZADD', line_of(tenant), 'NX', int(run_at > now and run_at or now + delay), entry)
see_to(tenant)
keep(tenant)
return {'ok'}
