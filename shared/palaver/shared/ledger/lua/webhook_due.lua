-- webhook_due: a webhook that is to be delivered is due at another time. Called at the end of jobs that may have none.
-- KEYS 1 palaver:webhooks:{all}
-- keys used  as webhook_enter
-- ARGV 1 entry SID/JID · 2 ms of Redis time
-- reply ok
local webhooks, entry, at = KEYS[1], ARGV[1], ARGV[2]
local tenant = redis.call('HGET', webhooks .. ':whose', entry)
if not tenant then return {'ok'} end
-- include clock
-- include webhooks
keep(tenant) -- first: it is never refused for memory
redis.call('ZADD', line_of(tenant), 'XX', at, entry)
see_to(tenant)
return {'ok'}
