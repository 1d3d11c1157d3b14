-- cache_keep: notes that an answer was stored or used, and takes out of the list what was not used for longest.
-- KEYS 1 palaver:cached
-- ARGV 1 digest · 2 answers at most · 3 ms that the list is kept
-- reply digest whose answer is to be dropped, …
-- The first write is never refused for memory.
-- include clock
-- include ttl
local list, digest, most, kept_for = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]
redis.call('ZREM', list, digest)
local dropped = redis.call('ZRANGE', list, 0, -most)
redis.call('ZREMRANGEBYRANK', list, 0, -most)
redis.call('ZADD', list, int(now), digest)
raise(list, kept_for)
return dropped
