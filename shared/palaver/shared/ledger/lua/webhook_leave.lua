-- webhook_leave: there is nothing to deliver, or nothing more.
-- KEYS 1 palaver:webhooks:{all}
-- keys used  as webhook_enter
-- ARGV 1 entry SID/JID
-- reply ok
local webhooks, entry = KEYS[1], ARGV[1]
-- include clock
-- include webhooks
local tenant = redis.call('HGET', whose, entry)
if tenant then
  redis.call('HDEL', whose, entry)
  redis.call('ZREM', line_of(tenant), entry)
  see_to(tenant)
end
return {'ok'}
