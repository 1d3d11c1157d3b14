-- gate_enter: a request of a job, or the run of one, asks for a place at a gate: it has one now, or its place in the line.
-- Asked again it is told how that stands, and takes the place that it was given meanwhile. One request of a job at a
-- time: another token is that of a later request, whose worker goes on with what the one before has waited.
-- KEYS 1 palaver:gate:{NAME}
-- keys used  …:places zset (request → end of its hold) · …:given zset (→ when another one gets it) · …:records hash ·
--       …:paused string (an operator's pause) · …:used hash · …:busy hash · …:lines zset · …:starts hash ·
--       …:line:QUEUE zset · …:usual:MODEL string · …:SID/JID channel: it was given a place
-- ARGV 1 SID/JID · 2 token of the request · 3 ms that it holds a place unless it renews
--      4 what it says of itself, JSON: `line`, `kind` ('batch', or '' for a job), `weight`, `prompt` (tokens),
--        `most` (tokens of the answer; left out: nobody knows), `guess` (of them, until answers of its `model` are known),
--        `ahead` (it goes on with something, and goes before what has not begun),
--        `parked` (it takes no place now; who has one to give sends its message), `later` (it takes none now, but is told
--        of one)
--      5 limits, JSON: `requests` and `tokens` in a `window` of so many ms, `concurrent` requests (0: no limit),
--        `of_line` places of one line (0: any number, left out: they are not counted)
-- reply place | wait, next look at the gate (ms of Redis time, 0: never), jobs to send, jobs ahead, ms to wait,
--       ms for which the gate is closed
--       (`place` to who takes none now: one was given to it)
local gate, entry, token, term = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local asked, told_limits = cjson.decode(ARGV[4]), ARGV[5]
-- include clock
redis.call('HSET', gate, 'limits', told_limits)
-- include gate
-- include gate_lines
see_to_time()
local record = record_of(entry)
if record and record.token ~= token and redis.call('ZSCORE', places, entry) then
  vacate(entry, record)
  record = nil
end
if not (record and stands(entry, record)) then
  record = asked
  record.token, record.by, record.lapsed, record.size, record.since = token, '-', false, 0, now
  join(entry, record, asked.ahead)
end
record.token, record.parked, record.later, record.heard = token, asked.parked, asked.later, awake
keep_record(entry, record)
-- What it was given it has now, also at the last moment.
if redis.call('ZSCORE', given, entry) then offer(entry, record) end
hand_out(token)

local has_one = redis.call('ZSCORE', places, entry)
if not has_one and redis.call('ZSCORE', given, entry) then
  has_one = true
  if not (record.parked or record.later) then take(entry, record_of(entry), term) end
end
raise_all()
raise_line(record)
local others, ms = prospect(entry, record)
return {has_one and 'place' or 'wait', int(next_look), to_send(token), others, ms, math.max(0, closed - now)}
