-- count: adds what an ended job has spent to its tenant's day, once.
-- KEYS 1 palaver:usage:{DAY/TENANT}
-- keys used  usage:{DAY/TENANT} hash · usage:{DAY/TENANT}:jobs zset, by when they ended
-- ARGV 1 job id · 2 when it ended, ms of Redis time · 3 ms that an ended job is kept · 4 ms that the day is kept
--      5… field, how much more; …
-- reply ok
-- Of which jobs it was done is known for as long as anybody may repeat their end. The first write is never refused for
-- memory.
-- include clock
-- include ttl
local jobs, oldest = KEYS[1] .. ':jobs', now - tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', jobs, '-inf', int(oldest))
if tonumber(ARGV[2]) > oldest and redis.call('ZADD', jobs, 'NX', ARGV[2], ARGV[1]) == 1 then
  for i = 5, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
raise(jobs, ARGV[3])
raise(KEYS[1], ARGV[4])
return {'ok'}
