-- gate_forget: a job that waited at a gate has ended. What it was given is handed on by the next who calls.
-- KEYS 1 palaver:gate:{NAME}
-- keys used  as gate_enter
-- ARGV 1 SID/JID
-- reply ok
local gate, entry = KEYS[1], ARGV[1]
-- include clock
-- include gate
-- include gate_lines
redis.call('HDEL', gate, '_')
if not redis.call('ZSCORE', places, entry) then forget(entry, record_of(entry)) end
return {'ok'}
