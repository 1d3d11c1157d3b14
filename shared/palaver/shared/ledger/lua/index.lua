-- index: where to find a job by its id alone, when it is to run at a time.
-- KEYS 1 palaver:job:JID
-- ARGV 1 session id · 2 run_at, ms of Unix time · 3 ms to keep it after that
-- include clock
redis.call('SET', KEYS[1], ARGV[1], 'PX', int(math.max(tonumber(ARGV[2]) - now, 0) + tonumber(ARGV[3])))
return {'ok'}
