-- watch: a sweeper is to look at a job at its run_at, or else some time from now.
-- KEYS 1 palaver:due
-- ARGV 1 entry SID/JID · 2 run_at, ms of Unix time (0: now) · 3 ms from now
-- An entry that is there stays as it is: a retry does not put off the look.
-- include clock
local due, entry, run_at, delay = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZADD', due, 'NX', int(run_at > now and run_at or now + delay), entry)
-- Far above any deadline and run_at in use: the set lives while somebody submits or sweeps at least yearly.
redis.call('EXPIRE', due, 400 * 24 * 3600)
return {'ok'}
