-- announce: a worker says for a while that it is there, or what it serves. Drops what others let expire.
-- KEYS 1 palaver:workers | palaver:profiles | palaver:agents
-- ARGV 1 ms until it expires · 2, 3 … field, JSON object
-- Stored: the object with "expires" (ms of Redis time) and "time" (seconds) before its own fields.
-- reply ok
-- include clock
-- include holds
redis.call('HDEL', KEYS[1], '_')
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  if not holds(entries[i + 1]) then redis.call('HDEL', KEYS[1], entries[i]) end
end
local opening = '{"expires":' .. int(now + tonumber(ARGV[1])) .. ',"time":' .. stamp
for i = 2, #ARGV, 2 do
  local rest = string.sub(ARGV[i + 1], 2)
  redis.call('HSET', KEYS[1], ARGV[i], opening .. (rest == '}' and rest or ',' .. rest))
end
redis.call('PEXPIRE', KEYS[1], math.max(tonumber(ARGV[1]), 3600000))
return {'ok'}
