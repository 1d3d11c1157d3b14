-- ready_enter: a job comes that waits for a worker, and for its turn among tenants and users. Called before it is stored:
-- what is refused then leaves.
-- KEYS 1 palaver:ready:{all}
-- keys used  …:of hash (SID/JID → queue, user, tenant) · …:QUEUE zset · …:line:QUEUE:USER:TENANT zset (SID/JID → order) ·
--       …:turns:QUEUE, …:turns:QUEUE/TENANT zset (tenants, users of one, with somebody who waits → their next turn) ·
--       …:rested:… zset (others → theirs) · …:clock:… string
-- ARGV 1 SID/JID · 2 queue · 3 user ('' for none) · 4 tenant ('' for none)
-- reply ok
local ready, entry, queue, user, tenant = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
-- include clock
-- include ready
if redis.call('HEXISTS', of, entry) == 0 then join(entry, queue, user, tenant) end
return {'ok'}
