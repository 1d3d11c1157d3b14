-- take: entries of a registry whose time has come, for whoever asks; nobody else is given them for a while.
-- KEYS 1 palaver:batches:stored
-- ARGV 1 ms until they may be given to another · 2 how many at most
-- reply entries
-- include clock
local registry, pause, most = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('EXPIRE', registry, 400 * 24 * 3600)
local entries = redis.call('ZRANGEBYSCORE', registry, '-inf', int(now), 'LIMIT', 0, most)
for _, entry in ipairs(entries) do redis.call('ZADD', registry, int(now + pause), entry) end
return entries
