-- watch: a sweeper is to look at a job some time after now or after its run_at.
-- KEYS 1 palaver:due
-- ARGV 1 entry SID/JID · 2 run_at, ms of Unix time (0: now) · 3 ms after that
-- An entry that is there stays as it is: a retry does not put off the look.
-- include clock
redis.call('ZADD', KEYS[1], 'NX', int(math.max(now, tonumber(ARGV[2])) + tonumber(ARGV[3])), ARGV[1])
-- Far above any deadline and run_at in use: the set lives while somebody submits or sweeps at least yearly.
redis.call('EXPIRE', KEYS[1], 400 * 24 * 3600)
return {'ok'}
