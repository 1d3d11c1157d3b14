-- index: where to find a job by its id alone, when it is to run at a time.
-- KEYS 1 palaver:job:JID
-- ARGV 1 session id · 2 run_at, ms of Unix time · 3 ms to keep it after that
-- include clock
local key, sid, run_at, kept_for = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('SET', key, sid, 'PX', int(math.max(run_at - now, 0) + kept_for))
return {'ok'}
