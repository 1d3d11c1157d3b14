-- claim: a worker takes a job, for the length of a lease. Repeatable by its token.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:job:JID hash · {SID}:session hash · …:job:JID:text, :reasoning · {SID}:messages list
-- ARGV 1 session id · 2 job id · 3 token · 4 worker · 5 lease in ms
--      6 queue that the job's message came from ('' if it is not known)
-- reply ok, fence, document, text, reasoning, failures, cancel flag, ms to the deadline, lease end, rounds, history,
--       place in the list of models, when that message was sent at the earliest (0: not known), what was spent
--       | no, gone | no, ended, status | no, leased | no, waiting | no, not_due
local base, jid = KEYS[1], ARGV[2]
local job = base .. ':job:' .. jid
-- include clock
local state = redis.call('HMGET', job, 'status', 'holder', 'mode', 'parked', 'resume', 'attempt', 'resends')
local status, holder, attempt = state[1], state[2], tonumber(state[6] or 0)
if not status then return {'no', 'gone'} end
if status ~= 'queued' and status ~= 'running' then return {'no', 'ended', status} end

local function fence()
  return int(attempt) .. ':' .. ARGV[3]
end

if holder ~= fence() then
  -- An expired lease is freed by a sweep, which knows whether Redis itself had stood still.
  if holder then return {'no', 'leased'} end
  if tonumber(state[4] or 0) > now or tonumber(state[5] or 0) > now then return {'no', 'not_due'} end
  if state[3] ~= 'parallel' and redis.call('HGET', base .. ':session', 'active') ~= jid then return {'no', 'waiting'} end
  attempt = attempt + 1
  redis.call('HSET', job, 'status', 'running', 'attempt', int(attempt), 'holder', fence(), 'worker', ARGV[4],
    'lease', int(now + tonumber(ARGV[5])), 'term', ARGV[5], 'pseq', 0)
  redis.call('HSETNX', job, 'started', int(now))
  redis.call('HDEL', job, 'resume', 'parked')
  -- Of several messages one cannot know which came.
  if state[7] then redis.call('HDEL', job, 'sent', 'resends') end
end

local kept = redis.call('HMGET', job, 'doc', 'failures', 'cancel', 'deadline', 'lease', 'rounds', 'hist', 'tries',
  'queue', 'sent', 'spent')
local rounds, history = {}, {}
for i = 1, tonumber(kept[6] or 0) do rounds[i] = redis.call('HGET', job, 'round:' .. i) end
if kept[7] then history = redis.call('LRANGE', base .. ':messages', 0, -1) end
return {'ok', fence(), kept[1], redis.call('GET', job .. ':text') or '', redis.call('GET', job .. ':reasoning') or '',
  tonumber(kept[2] or 0), kept[3] or '', tonumber(kept[4]) - now, tonumber(kept[5]), rounds, history,
  kept[8] or '', kept[9] == ARGV[6] and tonumber(kept[10] or 0) or 0, kept[11] or ''}
