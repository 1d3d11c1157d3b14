-- ready_where: where a job stands that waits for a worker. Reads only.
-- KEYS 1 palaver:ready:{all}
-- keys used  as ready_enter
-- ARGV 1 SID/JID
-- reply wait, jobs ahead | none, 0; then jobs that are begun in an hour, by those of the last minute (0: not known)
local ready, entry = KEYS[1], ARGV[1]
-- include clock
-- include ready
local hourly = int(math.floor(rate() * 3600000))
local queue, user, tenant = place_of(entry)
if not queue then return {'none', 0, hourly} end
-- It is begun by its own message, or when it has its turn.
local function among(all, name, rank)
  return rank * redis.call('ZCARD', all.turns) + (redis.call('ZRANK', all.turns, name) or 0)
end
local in_line = redis.call('ZRANK', line_key(queue, user, tenant), entry)
local by_turn = among(circle(queue), tenant, among(users_of(queue, tenant), user, in_line))
return {'wait', math.min(by_turn, redis.call('ZRANK', waiting_for(queue), entry)), hourly}
