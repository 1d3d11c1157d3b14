-- keep_context: an agent's worker asks what its session has, and has the session keep the agent's own context, once.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:session hash · {SID}:job:JID hash, of this job and of the one that makes the context
-- ARGV 1 session id · 2 job id · 3 fence · 4 path of the agent · 5 its context as JSON ('' for none)
--      6 '1' to make the context if there is none and nobody else makes it
-- reply ok, cancel flag, user, anonymous id, context of the session, context of the agent (each '' for none),
--       '1' if the job is to make the context | gone | ended, status | fenced
local base, jid, fence, path, context, wants = KEYS[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6] == '1'
local job = base .. ':job:' .. jid
-- include fence
-- include clock
if verdict then return verdict end
local session, field, making = base .. ':session', 'agent:' .. path, 'maker:' .. path

-- Whoever makes it is at it while its job is held: of one that died, and of one that failed, another takes over.
local function is_at_it(maker)
  local other, its_fence = string.match(maker, '^(%S+) (%S+)$')
  local its_holder, lease = unpack(redis.call('HMGET', base .. ':job:' .. other, 'holder', 'lease'))
  return its_holder == its_fence and tonumber(lease) > now
end

if context ~= '' then
  redis.call('HSETNX', session, field, context)
  redis.call('HDEL', session, making)
end
local user, anonymous_id, given, kept, maker = unpack(
  redis.call('HMGET', session, 'user', 'anonymous_id', 'context', field, making))
local own = jid .. ' ' .. fence
local mine = wants and not kept and (not maker or maker == own or not is_at_it(maker))
if mine then redis.call('HSET', session, making, own) end
return {'ok', cancel, user or '', anonymous_id or '', given or '', kept or '', mine and '1' or ''}
