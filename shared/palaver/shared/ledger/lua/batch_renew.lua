-- batch_renew: a driver goes on to work on the batch.
-- KEYS 1 palaver:{BID}
-- keys used  {BID}:batch and what begins with it
-- ARGV 1 batch id · 2 token of the driver · 3 lease in ms
-- reply ok, why the batch was stopped ('' if not) | gone | ended, status | fenced
local base, token, term = KEYS[1], ARGV[2], tonumber(ARGV[3])
-- include clock
-- include batch
local refused = refusal(token)
if refused then return refused end
redis.call('HDEL', batch, '_')
redis.call('ZADD', leases, int(now + term), token)
keep(leases)
expire_if_due()
return {'ok', stop}
