-- bury: puts a job that ended badly among the dead letters, and drops those that are too old or too many.
-- KEYS 1 palaver:dead
-- ARGV 1 entry SID/JID · 2 when it ended, ms of Redis time · 3 ms that an ended job is kept · 4 entries at most
-- reply ok
-- The same end again changes nothing, also if its letter was dropped: that is kept as a negative score for as long as
-- anybody may repeat the end. The first write is never refused for memory.
-- include clock
-- include ttl
local letters, entry, ended, kept_for, most = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local oldest = now - kept_for
redis.call('ZREMRANGEBYSCORE', letters, int(-oldest), int(oldest))
local known = math.abs(tonumber(redis.call('ZSCORE', letters, entry) or 0))
if ended > known and ended > oldest then redis.call('ZADD', letters, int(ended), entry) end
redis.call('ZREMRANGEBYRANK', letters, 0, -1 - most)
raise(letters, kept_for)
return {'ok'}
