-- gate_enter: a request of a job, or the run of one, asks for a place at a gate: it has one now, or its place in the line.
-- Asked again it is told how that stands, and takes the place that it was given meanwhile. One request of a job at a
-- time: another token is that of a later request, whose worker goes on with what the one before has waited.
-- KEYS 1 palaver:gate:{NAME}
-- keys used  …:places zset (request → end of its hold) · …:given zset (→ when another one gets it) · …:records hash ·
--       …:paused string (an operator's pause) · …:used hash · …:busy hash · …:lines zset · …:line:LINE zset · …:SID/JID channel: it was given a place
-- ARGV 1 SID/JID · 2 token of the request · 3 its line · 4 ms that it holds a place unless it renews
--      5 '1': the job is parked, and takes no place now; who has one to give sends its message
--      6 tokens of the prompt · 7 most tokens of the answer ('' if it is not bounded)
--      8 requests · 9 and tokens in a window of · 10 so many ms · 11 concurrent requests (0: no limit)
--      12 places of one line (0: any number, '': they are not counted) · 13 weight of its line
--      14 '1': it goes on with something, and goes before what has not begun
-- reply place | wait, next look at the gate (ms of Redis time, 0: never), jobs to send, jobs ahead, ms to wait,
--       ms for which the gate is closed
--       (`place` to a parked job: one was given to it)
local gate, entry, token, line, term, parks = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'
local asked, answered = tonumber(ARGV[6]), tonumber(ARGV[7])
local most_requests, most_tokens, most_ms, most_places = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local most_of_line, weight, ahead = ARGV[12], ARGV[13], ARGV[14] == '1'
-- include clock
-- The other scripts go by the limits of the last who has asked.
redis.call('HSET', gate, 'requests', most_requests, 'tokens', most_tokens, 'window', most_ms, 'concurrent', most_places,
  'of_line', most_of_line)
if weight == '1' then
  redis.call('HDEL', gate, 'weight:' .. line)
else
  redis.call('HSET', gate, 'weight:' .. line, weight)
end
-- include gate
-- include gate_lines
see_to_time()
local record = record_of(entry)
if record and record.token ~= token and redis.call('ZSCORE', places, entry) then
  vacate(entry, record)
  record = nil
end
if not record then
  local size = asked + (answered or number('answered'))
  if tokens > 0 then size = math.min(size, tokens) end
  record = {token = token, by = '-', lapsed = false, size = size, slice = 0, since = int(now), line = line}
  join(entry, record, ahead)
end
-- What it was given it has now, also at the last moment.
redis.call('ZADD', given, 'XX', int(now + LAPSE), entry)
record.token, record.parked = token, parks
keep_record(entry, record)
hand_out(token)

local has_one = redis.call('ZSCORE', places, entry)
if not has_one and redis.call('ZSCORE', given, entry) then
  has_one = true
  if not parks then take(entry, record_of(entry), term) end
end
raise_all()
local others, ms = prospect(entry, record)
return {has_one and 'place' or 'wait', int(next_look), to_send(token), others, ms, math.max(0, closed - now)}
