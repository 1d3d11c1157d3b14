-- gate_where: where a waiting job stands. Reads only.
-- KEYS 1 palaver:gate:{NAME}
-- keys used  as gate_enter
-- ARGV 1 SID/JID
-- reply wait, jobs ahead, ms to wait | none
local gate, entry = KEYS[1], ARGV[1]
-- include clock
-- include gate
-- include gate_lines
local record = record_of(entry)
if not record or redis.call('ZSCORE', places, entry) then return {'none'} end
return {'wait', prospect(entry, record)}
