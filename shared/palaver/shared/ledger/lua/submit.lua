-- submit: stores a job, its idempotency key, its place in the session's line and its first event, in one step.
-- KEYS 1 palaver:{SID}
-- keys used  every key of the session · NS:control channel (interrupt, rollback)
-- ARGV 1 session id · 2 job id · 3-7 retention · 8 fingerprint · 9 idempotency key ('' for none) · 10 on_busy
--      11 queue · 12 run_at, ms of Unix time (0: now) · 13 deadline in ms from submit or run_at
--      14 '1': the session's history is read at claim · 15 model · 16 document
--      17 messages that the session's history gets, one JSON a line · 18 error for a job that this one interrupts
--      19 how many of the session's jobs may not have ended · 20 tenant ('' for none, which is
--      one like any other) · 21 name of the list of unended jobs that has it ('' for none) · 22 user ('' for none)
--      23 what the session is to be: '' · begun: it is not to begin with this job · opened: a conversation
--      24 what its webhook's delivery needs ('' for none)
-- reply ok, job id, cursor, created (1, 0), status, position, job to send ('' for none), its queue, ms of Redis time;
--       if it has ended another job also the id of that, what it has spent, the gate at which it has waited, the list
--       of unended jobs that had it
--       | conflict, job id | busy, active job | closed, status | full, jobs that have not ended
--       | foreign: the session is another tenant's, or kept for one | unopened: there is no such conversation
local base, sid, jid = KEYS[1], ARGV[1], ARGV[2]
local fingerprint, idempotency_key, on_busy, queue = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local run_at, deadline_after, reads_history = math.max(tonumber(ARGV[12]), 0), tonumber(ARGV[13]), ARGV[14] == '1'
local model, document, user_messages, interrupted = ARGV[15], ARGV[16], ARGV[17], ARGV[18]
local most_unended, tenant, counts = tonumber(ARGV[19]), ARGV[20], ARGV[21]
local user, session_is, notice = ARGV[22], ARGV[23], ARGV[24]
local job = base .. ':job:' .. jid
-- include clock
-- include retention
-- include ttl
-- include log
-- include jobs
-- include turns
-- include end
-- include enter
-- include past

-- The first reply again, from what is stored.
local function recall(known, created)
  local first, status, mode, parked, its_queue, next_job, done = unpack(
    redis.call('HMGET', job_key(known), 'first', 'status', 'mode', 'parked', 'queue', 'next', 'done'))
  local cursor, position = string.match(first or done, '(%d+) (%d+)$')
  local send, send_queue = '', ''
  if status == 'queued' and not parked then
    if mode == 'parallel' or redis.call('HGET', session, 'active') == known then
      send, send_queue = known, its_queue
    elseif next_job then
      send, send_queue = next_job, RESUME
    end
  end
  return {'ok', known, tonumber(cursor), created, status, tonumber(position), send, send_queue, now}
end

-- The turn of a job that vanished is still to be given to the first of the line that can take it.
local function first_waiting()
  for _, other in ipairs(redis.call('LRANGE', waiting, 0, -1)) do
    if is_live(other) then return other end
  end
end

-- The answer for a job that is not stored. One of this id that vanished leaves the list here: no sweep will look at it.
local function instead(reply)
  unlist(jid)
  return reply
end

-- A session is of the tenant and the user of its first job, unless it was opened as somebody's.
local session_status, active, seq, owner, opened = unpack(
  redis.call('HMGET', session, 'status', 'active', 'seq', 'tenant', 'created'))
owner = owner or opened and ''
if owner and owner ~= tenant or session_is == 'begun' and not (owner or seq) then return instead({'foreign'}) end

local known = redis.call('HGET', job, 'fp')
if known then
  if known ~= fingerprint then return {'conflict', jid} end
  return recall(jid, 1)
end
local key = idempotency_key ~= '' and base .. ':key:' .. idempotency_key
if key then
  local first = redis.call('GET', key)
  local body = first and redis.call('HGET', job_key(first), 'fp')
  if body then
    if body ~= fingerprint then return instead({'conflict', first}) end
    return instead(recall(first, 0))
  end
end
-- It was erased, as a rule, and nothing of it comes back: the job was noted for the archive before.
if session_is == 'opened' and not opened then
  redis.call('ZREM', base .. ':unarchived', jid)
  return instead({'unopened'})
end
if session_status == 'completed' or session_status == 'archived' then return instead({'closed', session_status}) end
if on_busy == 'reject' and run_at <= now then
  local ahead = active and is_live(active) and active or first_waiting()
  if ahead then return instead({'busy', ahead}) end
end
local unended = redis.call('ZCOUNT', jobs, '+inf', '+inf')
if unended >= most_unended then return instead({'full', unended}) end

-- Nothing was written so far: a full Redis refuses the next line, and with it the whole job.
local deadline = math.max(run_at, now) + deadline_after
redis.call('HSET', job, 'doc', document, 'fp', fingerprint, 'status', 'queued', 'created', int(now),
  'deadline', int(deadline), 'queue', queue, 'user', user_messages, 'model', model)
if reads_history then redis.call('HSET', job, 'hist', 1) end
if notice ~= '' then redis.call('HSET', job, 'notice', notice) end
if counts ~= '' then redis.call('HSET', job, 'counts', counts) end
if key then
  redis.call('HSET', job, 'key', idempotency_key)
  redis.call('SET', key, jid)
end
if on_busy ~= 'enqueue' then redis.call('HSET', job, 'mode', on_busy) end
local is_new = list(jid, '+inf')

-- After a failover the session's counter may be behind its log, and the cursor must not be.
local cursor = tonumber(seq or 0)
local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)
log_is_empty = not last[1]
if last[1] then cursor = math.max(cursor, tonumber(string.match(last[1][1], '^%d+'))) end
if owner then redis.call('HSET', session, 'seq', cursor)
elseif user == '' then redis.call('HSET', session, 'seq', cursor, 'born', int(now), 'tenant', tenant)
else redis.call('HSET', session, 'seq', cursor, 'born', int(now), 'tenant', tenant, 'user', user) end

-- It was here before and is lost, by a failover or because nobody ended it: the place that it had is not this one's.
if active == jid or not is_new then leave(jid) end
local send, send_queue, ended
local position = 0
if run_at > now then
  redis.call('HSET', job, 'parked', int(run_at))
  position = redis.call('LLEN', waiting) + redis.call('HEXISTS', session, 'active')
  tell(jid, position)
else
  send, send_queue, ended = enter(jid, on_busy, interrupted)
  if on_busy ~= 'parallel' and redis.call('HGET', session, 'active') ~= jid then
    if on_busy == 'interrupt' or on_busy == 'rollback' then position = 1 else position = redis.call('LLEN', waiting) end
  end
end
redis.call('HSET', job, 'first', cursor .. ' ' .. position)
if send and send ~= jid then redis.call('HSET', job, 'next', send) end

local horizon = int(deadline - now + tonumber(keep_job))
redis.call('PEXPIRE', job, horizon)
if key then redis.call('PEXPIRE', key, horizon) end
raise(events, horizon)
raise(waiting, horizon)
raise(jobs, horizon)
raise(session, math.max(horizon, tonumber(keep_session)))
raise(base .. ':messages', horizon)
local reply = {'ok', jid, cursor, 1, 'queued', position, send or '', send_queue or '', now}
if ended then
  for _, word in ipairs({ended, left_by(job_key(ended))}) do reply[#reply + 1] = word end
end
return reply
