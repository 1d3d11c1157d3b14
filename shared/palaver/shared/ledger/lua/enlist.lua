-- enlist: jobs whose messages wait in one queue, to be looked at when the queue has passed them.
-- KEYS 1 palaver:sent:QUEUE
-- ARGV entry SID/JID, when its message was sent in ms of Redis time, …
-- reply ok
-- Begins with a write that is never refused for memory, as every script does that a sweep cannot do without.
local list, KEPT = KEYS[1], 400 * 24 * 3600
redis.call('EXPIRE', list, KEPT)
for i = 1, #ARGV, 2 do
  local entry, sent = ARGV[i], ARGV[i + 1]
  redis.call('ZADD', list, sent, entry)
end
redis.call('EXPIRE', list, KEPT)
return {'ok'}
