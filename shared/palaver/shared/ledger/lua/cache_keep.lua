-- cache_keep: notes that an answer was stored or used, and takes out of the list what was not used for longest.
-- KEYS 1 palaver:cached
-- ARGV 1 digest · 2 answers at most · 3 ms that the list is kept
-- reply digest whose answer is to be dropped, …
-- The first write is never refused for memory.
-- include clock
-- include ttl
redis.call('ZREM', KEYS[1], ARGV[1])
local dropped = redis.call('ZRANGE', KEYS[1], 0, -int(ARGV[2]))
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -int(ARGV[2]))
redis.call('ZADD', KEYS[1], int(now), ARGV[1])
raise(KEYS[1], ARGV[3])
return dropped
