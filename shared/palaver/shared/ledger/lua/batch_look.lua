-- batch_look: a batch as it is.
-- KEYS 1 palaver:{BID}
-- keys used  {BID}:batch and what begins with it
-- ARGV -
-- reply ok, its document, drivers, field, value, … | gone
local base = KEYS[1]
-- include clock
-- include batch
if not status then return {'gone'} end
local reply = {'ok', redis.call('HGET', batch, 'doc'), redis.call('ZCARD', leases)}
for _, field in ipairs({'status', 'completed', 'failed', 'tokens', 'nanos', 'unpriced', 'n', 'flushed', 'running', 'first',
  'created', 'expires', 'started', 'cancelling', 'finalizing', 'ended', 'error', 'hook', 'stored'}) do
  local value = redis.call('HGET', batch, field)
  if value then
    reply[#reply + 1] = field
    reply[#reply + 1] = value
  end
end
return reply
