-- keep_context: an agent's worker asks what its session has, and has the session keep the agent's own context, once.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:session hash · {SID}:job:JID hash
-- ARGV 1 session id · 2 job id · 3 fence · 4 path of the agent · 5 its context as JSON ('' to ask only)
-- reply ok, cancel flag, user, anonymous id, context of the session, context of the agent (each '' for none)
--       | gone | ended, status | fenced
local base, job, fence, path, context = KEYS[1], KEYS[1] .. ':job:' .. ARGV[2], ARGV[3], ARGV[4], ARGV[5]
-- include fence
if verdict then return verdict end
local session, field = base .. ':session', 'agent:' .. path
if context ~= '' then redis.call('HSETNX', session, field, context) end
local user, anonymous_id, given, kept = unpack(
  redis.call('HMGET', session, 'user', 'anonymous_id', 'context', field))
return {'ok', cancel, user or '', anonymous_id or '', given or '', kept or ''}
