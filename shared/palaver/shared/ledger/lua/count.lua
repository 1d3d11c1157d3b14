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
local usage, jobs = KEYS[1], KEYS[1] .. ':jobs'
local jid, ended, kept_for, day_kept_for = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local oldest, FIRST_FIELD = now - kept_for, 5
redis.call('ZREMRANGEBYSCORE', jobs, '-inf', int(oldest))
if ended > oldest and redis.call('ZADD', jobs, 'NX', int(ended), jid) == 1 then
  for i = FIRST_FIELD, #ARGV, 2 do
    local field, more = ARGV[i], ARGV[i + 1]
    redis.call('HINCRBY', usage, field, more)
  end
end
raise(jobs, kept_for)
raise(usage, day_kept_for)
return {'ok'}
