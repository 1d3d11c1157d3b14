-- announced: what has not expired. Reads only.
-- KEYS 1 palaver:workers | palaver:profiles | palaver:agents
-- reply field, JSON object, …
-- include clock
local entries, live = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #entries, 2 do
  local expires = tonumber(string.match(entries[i + 1], '^{"expires":(%d+)') or 0)
  if expires > now then
    live[#live + 1] = entries[i]
    live[#live + 1] = entries[i + 1]
  end
end
return live
