-- announce: a worker says for a while that it is there, or what it serves. Drops what others let expire.
-- KEYS 1 palaver:workers | palaver:profiles | palaver:agents | palaver:tenants
-- ARGV 1 ms until it expires · 2 ms to keep what nobody drops · 3, 4 … field, JSON object
-- Stored: the object with "expires" (ms of Redis time) and "time" (seconds) before its own fields.
-- reply ok
-- include clock
-- include holds
local registry, keeps_for, kept_for = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('HDEL', registry, '_')
local entries = redis.call('HGETALL', registry)
for i = 1, #entries, 2 do
  if not holds(entries[i + 1]) then redis.call('HDEL', registry, entries[i]) end
end
local opening = '{"expires":' .. int(now + keeps_for) .. ',"time":' .. stamp
for i = 3, #ARGV, 2 do
  local field, rest = ARGV[i], string.sub(ARGV[i + 1], 2)
  redis.call('HSET', registry, field, opening .. (rest == '}' and rest or ',' .. rest))
end
redis.call('PEXPIRE', registry, math.max(keeps_for, kept_for))
return {'ok'}
