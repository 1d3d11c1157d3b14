-- open_session: stores what a conversation's session is; one that is there stays as it is, but for where it is kept.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:session hash
-- ARGV 1 ms that a session is kept · 2 '1': its messages are kept in a database
--      3… field, value; … with `created`, by which an opened session is known. None: only one that is there is kept on
-- reply ok, 1 if it is new, 0 if it was there | gone
-- include ttl
local session, keep_session, in_database = KEYS[1] .. ':session', ARGV[1], ARGV[2] == '1'
local FIRST_FIELD = 3
local new = redis.call('HEXISTS', session, 'created') == 0
if new and #ARGV < FIRST_FIELD then return {'gone'} end
if new then redis.call('HSET', session, unpack(ARGV, FIRST_FIELD)) end
if in_database then redis.call('HSET', session, 'database', 1) end
raise(session, keep_session)
return {'ok', new and 1 or 0}
