-- gate_leave: a request gives its place back, or its place in the line, and places are handed on.
-- KEYS 1 palaver:gate:{NAME}
-- keys used  as gate_enter
-- ARGV 1 SID/JID · 2 token of the request · 3 tokens that it used, 4 those of the answer ('': not known; then what was
--      counted stays counted) · 5 whole | cut (it may have used more than it knows) | unasked: it has not asked its
--      provider, and is not counted
-- reply ok, next look at the gate (ms of Redis time, 0: never), jobs to send
local gate, entry, token, total, answer = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local whole, unasked = ARGV[5] == 'whole', ARGV[5] == 'unasked'
-- A mean follows what is new by this part.
local SHARE = 1 / 8
-- include clock
-- include gate
-- include gate_lines

local function settle(record)
  if total then recount(record, whole and math.floor(total) or math.max(record.size, math.floor(total))) end
  local lasted, mean = math.max(0, now - record.since), number('lasted')
  redis.call('HSET', gate, 'lasted', int(mean == 0 and lasted or math.ceil(mean + (lasted - mean) * SHARE)))
  if tokens > 0 and answer then learn(record, answer, whole) end
end

-- Begins with a write that is never refused for memory.
redis.call('HDEL', gate, '_')
see_to_time()
local record = record_of(entry)
if record and record.token == token then
  if redis.call('ZSCORE', places, entry) then
    if unasked then uncount(record) else settle(record) end
  end
  forget(entry, record)
end
hand_out(token)
raise_all()
return {'ok', int(next_look), to_send(token)}
