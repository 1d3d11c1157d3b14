-- batch_cancel: no line of the batch begins any more; its drivers end those that run. One of which nothing was begun
-- has ended by this.
-- KEYS 1 palaver:{BID}
-- keys used  {BID}:batch and what begins with it · {BID}:session hash · {BID}:events stream · NS:control channel
-- ARGV 1 batch id · 2 '' · 3-7 retention
-- reply ok, status, ms of Redis time | gone
local base, sid = KEYS[1], ARGV[1]
-- include clock
-- include retention
-- include ttl
-- include log
-- include batch
-- include batch_end
if not status then return {'gone'} end
if status ~= 'in_progress' then return {'ok', status, now} end
redis.call('HDEL', batch, '_')
call_off('cancel')
if running == 0 and redis.call('HEXISTS', batch, 'n') == 0 then
  end_batch('cancelled')
else
  redis.call('PUBLISH', string.match(base, '^(.*):{') .. ':control', '{"type":"batch","batch_id":"' .. sid .. '"}')
end
return {'ok', status, now}
