-- store_messages: keeps messages of a conversation, each once, in their order. Of one that was erased, or never
-- opened, it keeps none: nobody would find them, to erase them again.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:stored zset, all of the score 0: order, a line's end, message · {SID}:session hash
-- ARGV 1 ms that a session is kept · 2… order, message as JSON; …
-- reply ok, 1 if the session is there
-- include ttl
local stored, session, keep_session = KEYS[1] .. ':stored', KEYS[1] .. ':session', ARGV[1]
local FIRST_MESSAGE = 2
if redis.call('HEXISTS', session, 'created') == 0 then return {'ok', 0} end
for i = FIRST_MESSAGE, #ARGV, 2 do
  local order, message = ARGV[i] .. '\n', ARGV[i + 1]
  if redis.call('ZLEXCOUNT', stored, '[' .. order, '(' .. order .. '\255') == 0 then
    redis.call('ZADD', stored, 0, order .. message)
  end
end
raise(stored, keep_session)
raise(session, keep_session)
return {'ok', 1}
