-- claim: a worker takes a job, for the length of a lease. Repeatable by its token.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:job:JID hash · {SID}:session hash · …:job:JID:text, :reasoning · {SID}:messages list
-- ARGV 1 session id · 2 job id · 3 token · 4 worker · 5 lease in ms
--      6 queue that the job's message came from ('' if it is not known)
-- reply ok, fence, document, text, reasoning, failures, cancel flag, ms to the deadline, lease end, journal, history,
--       place in the list of models, when that message was sent at the earliest (0: not known), what was spent,
--       gate at which it has waited ('' for none), ms since its first attempt began
--       | no, gone | no, ended, gate at which it had waited ('' for none) | no, leased | no, waiting | no, not_due
local base, jid, token, worker, term, came_from = KEYS[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
local job = base .. ':job:' .. jid
-- include clock
local status, holder, mode, parked, resume, attempt, resends, gate = unpack(
  redis.call('HMGET', job, 'status', 'holder', 'mode', 'parked', 'resume', 'attempt', 'resends', 'gate'))
if not status then return {'no', 'gone'} end
if status ~= 'queued' and status ~= 'running' then return {'no', 'ended', gate or ''} end
attempt = tonumber(attempt or 0)

local function fence()
  return int(attempt) .. ':' .. token
end

if holder ~= fence() then
  -- An expired lease is freed by a sweep, which knows whether Redis itself had stood still.
  if holder then return {'no', 'leased'} end
  -- Who waits at a gate is sent when it has a place there, mostly before its time.
  if tonumber(parked or 0) > now or not gate and tonumber(resume or 0) > now then return {'no', 'not_due'} end
  if mode ~= 'parallel' and redis.call('HGET', base .. ':session', 'active') ~= jid then return {'no', 'waiting'} end
  attempt = attempt + 1
  redis.call('HSET', job, 'status', 'running', 'attempt', int(attempt), 'holder', fence(), 'worker', worker,
    'lease', int(now + term), 'term', int(term), 'pseq', 0)
  redis.call('HSETNX', job, 'started', int(now))
  redis.call('HDEL', job, 'resume', 'parked', 'gate', 'from')
  if gate then redis.call('HSET', job, 'from', gate) end
  -- Of several messages one cannot know which came.
  if resends then redis.call('HDEL', job, 'sent', 'resends') end
end

local document, failures, cancel, deadline, lease, reads_history, tries, spent = unpack(
  redis.call('HMGET', job, 'doc', 'failures', 'cancel', 'deadline', 'lease', 'hist', 'tries', 'spent'))
local entries, queue, sent, from, started = unpack(
  redis.call('HMGET', job, 'journal', 'queue', 'sent', 'from', 'started'))
local journal, history = {}, {}
for i = 1, tonumber(entries or 0) do journal[i] = redis.call('HGET', job, 'journal:' .. i) end
if reads_history then history = redis.call('LRANGE', base .. ':messages', 0, -1) end
local text, reasoning = redis.call('GET', job .. ':text'), redis.call('GET', job .. ':reasoning')
return {'ok', fence(), document, text or '', reasoning or '', tonumber(failures or 0), cancel or '',
  tonumber(deadline) - now, tonumber(lease), journal, history, tries or '',
  queue == came_from and tonumber(sent or 0) or 0, spent or '', from or '', now - tonumber(started)}
