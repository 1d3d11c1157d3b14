-- gate_leave: a request gives its place back, or its place in the line, and places are handed on.
-- KEYS 1 palaver:gate:{NAME}
-- keys used  as gate_enter
-- ARGV 1 SID/JID · 2 token of the request · 3 tokens that it used, 4 those of the answer ('': not known; then what was
--      counted stays counted)
-- reply ok, next look at the gate (ms of Redis time, 0: never), jobs to send
local gate, entry, token, total, answer = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
-- A mean follows what is new by this part.
local SHARE = 1 / 8
-- include clock
-- include gate
-- include gate_lines

-- Answers of the model have become so long: the first one may be half of the next, or twice.
local function remember(model)
  local mean, deviation = usual_of(model)
  if mean then
    mean, deviation = mean + (answer - mean) * SHARE, deviation + (math.abs(answer - mean) - deviation) * 2 * SHARE
  else
    mean, deviation = answer, answer / 2
  end
  redis.call('SET', usual_key(model), string.format('%.2f %.2f', mean, deviation), 'PX', int(KEEP + 2 * window))
end

-- What was used counts when the request began: what is known only later makes no room in a later window.
local function settle(record)
  local field = 'tokens' .. int(record.slice)
  if total and redis.call('HEXISTS', used, field) == 1 then
    local change = math.floor(total) - record.size
    redis.call('HINCRBY', used, field, int(change))
    in_use.tokens = in_use.tokens + change
  end
  local lasted, mean = math.max(0, now - record.since), number('lasted')
  redis.call('HSET', gate, 'lasted', int(mean == 0 and lasted or math.ceil(mean + (lasted - mean) * SHARE)))
  if tokens > 0 and answer then remember(record.model) end
end

-- Begins with a write that is never refused for memory.
redis.call('HDEL', gate, '_')
see_to_time()
local record = record_of(entry)
if record and record.token == token then
  if redis.call('ZSCORE', places, entry) then settle(record) end
  forget(entry, record)
end
hand_out(token)
raise_all()
return {'ok', int(next_look), to_send(token)}
