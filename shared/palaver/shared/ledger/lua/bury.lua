-- bury: puts a job that ended badly among the dead letters, and drops those that are too old or too many.
-- KEYS 1 palaver:dead
-- ARGV 1 entry SID/JID · 2 when it ended, ms of Redis time · 3 ms that an ended job is kept · 4 entries at most
-- reply ok
-- An entry that is there stays as it is. The first write is never refused for memory.
-- include clock
-- include ttl
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now - tonumber(ARGV[3])))
redis.call('ZADD', KEYS[1], 'NX', ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[4]))
raise(KEYS[1], ARGV[3])
return {'ok'}
