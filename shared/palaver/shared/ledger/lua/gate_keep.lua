-- gate_keep: a worker renews the places that it holds, and says how many tokens their requests have used by now.
-- KEYS 1 palaver:gate:{NAME}
-- keys used  as gate_enter
-- ARGV 1 ms from now · 2… SID/JID, token of the request, its tokens by now, those of the answer ('': nobody counts), …
-- reply ok
local gate, term = KEYS[1], tonumber(ARGV[1])
-- include clock
-- include gate

-- What is more than was expected counts at once, and others are expected to be as long.
local function count(entry, record, total, answer)
  if tokens == 0 or not total then return end
  learn(record, answer, false)
  if total > record.size then
    recount(record, total)
    keep_record(entry, record)
  end
end

-- Begins with a write that is never refused for memory.
redis.call('HDEL', gate, '_')
local seen = note_time()
for i = 2, #ARGV, 4 do
  local entry, token = ARGV[i], ARGV[i + 1]
  local record = record_of(entry)
  if record and record.token == token and redis.call('ZSCORE', places, entry) then
    redis.call('ZADD', places, int(now + term), entry)
    count(entry, record, tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]))
  end
end
-- Whoever notes the time does what it has done: who comes next does not know of a silence before this call.
end_places(seen)
raise_all()
return {'ok'}
