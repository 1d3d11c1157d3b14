-- enlist: jobs whose messages wait in one queue, to be looked at when the queue has passed them.
-- KEYS 1 palaver:sent:QUEUE
-- ARGV entry SID/JID, when its message was sent in ms of Redis time, …
-- reply ok
-- Begins with a write that is never refused for memory, as every script does that a sweep cannot do without.
redis.call('EXPIRE', KEYS[1], 400 * 24 * 3600)
for i = 1, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i]) end
redis.call('EXPIRE', KEYS[1], 400 * 24 * 3600)
return {'ok'}
