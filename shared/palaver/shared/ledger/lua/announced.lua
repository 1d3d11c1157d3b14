-- announced: what has not expired. Reads only.
-- KEYS 1 palaver:workers | palaver:profiles | palaver:agents
-- reply field, JSON object, …
-- include clock
-- include holds
local entries, live = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #entries, 2 do
  if holds(entries[i + 1]) then
    live[#live + 1] = entries[i]
    live[#live + 1] = entries[i + 1]
  end
end
return live
