-- gate_pump: hands out what time has made free, and what was given to a job that has ended meanwhile.
-- KEYS 1 palaver:gate:{NAME}
-- keys used  as gate_enter
-- ARGV 1 token of the call · 2 SID/JID of a job that has ended without a request being made ('': none)
-- reply ok, next look at the gate (ms of Redis time, 0: never), jobs to send
local gate, token, ended = KEYS[1], ARGV[1], ARGV[2]
-- include clock
-- include gate
-- include gate_lines
redis.call('HDEL', gate, '_')
see_to_time()
if not redis.call('ZSCORE', places, ended) then forget(ended, record_of(ended)) end
hand_out(token)
raise_all()
return {'ok', int(next_look), to_send(token)}
