-- submit: stores a job, its idempotency key, its place in the session's line and its first event, in one step.
-- KEYS 1 palaver:{SID}
-- keys used  every key of the session · NS:control channel (interrupt, rollback)
-- ARGV 1 session id · 2 job id · 3-7 retention · 8 fingerprint · 9 idempotency key ('' for none) · 10 on_busy
--      11 queue · 12 run_at, ms of Unix time (0: now) · 13 deadline in ms from submit or run_at
--      14 '1': the session's history is read at claim · 15 model · 16 document
--      17 messages that the session's history gets, one JSON a line · 18 error for a job that this one interrupts
-- reply ok, job id, cursor, created (1, 0), status, position, job to send ('' for none), its queue, ms of Redis time
--       | conflict, job id | busy, active job | closed, status
local base, sid, jid = KEYS[1], ARGV[1], ARGV[2]
local job = base .. ':job:' .. jid
-- include clock
-- include retention
-- include ttl
-- include log
-- include jobs
-- include turns
-- include end
-- include enter

-- The first reply again, from what is stored.
local function recall(known, created)
  local kept = redis.call('HMGET', job_key(known), 'first', 'status', 'mode', 'parked', 'queue', 'next', 'done')
  local cursor, position = string.match(kept[1] or kept[7], '(%d+) (%d+)$')
  local send, queue = '', ''
  if kept[2] == 'queued' and not kept[4] then
    if kept[3] == 'parallel' or redis.call('HGET', session, 'active') == known then
      send, queue = known, kept[5]
    elseif kept[6] then
      send, queue = kept[6], RESUME
    end
  end
  return {'ok', known, tonumber(cursor), created, kept[2], tonumber(position), send, queue, now}
end

-- The turn of a job that vanished is still to be given to the first of the line that can take it.
local function first_waiting()
  for _, other in ipairs(redis.call('LRANGE', waiting, 0, -1)) do
    if is_live(other) then return other end
  end
end

local known = redis.call('HGET', job, 'fp')
if known then
  if known ~= ARGV[8] then return {'conflict', jid} end
  return recall(jid, 1)
end
local key = base .. ':key:' .. ARGV[9]
if ARGV[9] ~= '' then
  local owner = redis.call('GET', key)
  local body = owner and redis.call('HGET', job_key(owner), 'fp')
  if body then
    if body ~= ARGV[8] then return {'conflict', owner} end
    return recall(owner, 0)
  end
end
local about = redis.call('HMGET', session, 'status', 'active', 'seq')
if about[1] == 'completed' or about[1] == 'archived' then return {'closed', about[1]} end
local run_at = math.max(tonumber(ARGV[12]), 0)
if ARGV[10] == 'reject' and run_at <= now then
  local ahead = about[2] and is_live(about[2]) and about[2] or first_waiting()
  if ahead then return {'busy', ahead} end
end

-- Nothing was written so far: a full Redis refuses the next line, and with it the whole job.
local deadline = math.max(run_at, now) + tonumber(ARGV[13])
redis.call('HSET', job, 'doc', ARGV[16], 'fp', ARGV[8], 'status', 'queued', 'created', int(now), 'deadline', int(deadline),
  'queue', ARGV[11], 'user', ARGV[17], 'model', ARGV[15])
if ARGV[14] == '1' then redis.call('HSET', job, 'hist', 1) end
if ARGV[9] ~= '' then
  redis.call('HSET', job, 'key', ARGV[9])
  redis.call('SET', key, jid)
end
if ARGV[10] ~= 'enqueue' then redis.call('HSET', job, 'mode', ARGV[10]) end
local is_new = list(jid, '+inf')

-- After a failover the session's counter may be behind its log, and the cursor must not be.
local cursor = tonumber(about[3] or 0)
local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)
if last[1] then cursor = math.max(cursor, tonumber(string.match(last[1][1], '^%d+'))) end
redis.call('HSET', session, 'seq', cursor)

-- It was here before and is lost, by a failover or because nobody ended it: the place that it had is not this one's.
if about[2] == jid or not is_new then leave(jid) end
local send, queue
local position = 0
if run_at > now then
  redis.call('HSET', job, 'parked', int(run_at))
  position = redis.call('LLEN', waiting) + redis.call('HEXISTS', session, 'active')
  tell(jid, position)
else
  send, queue = enter(jid, ARGV[10], ARGV[18])
  if ARGV[10] ~= 'parallel' and redis.call('HGET', session, 'active') ~= jid then
    if ARGV[10] == 'interrupt' or ARGV[10] == 'rollback' then position = 1 else position = redis.call('LLEN', waiting) end
  end
end
redis.call('HSET', job, 'first', cursor .. ' ' .. position)
if send and send ~= jid then redis.call('HSET', job, 'next', send) end

local horizon = int(deadline - now + tonumber(keep_job))
redis.call('PEXPIRE', job, horizon)
if ARGV[9] ~= '' then redis.call('PEXPIRE', key, horizon) end
raise(events, horizon)
raise(waiting, horizon)
raise(jobs, horizon)
raise(session, horizon)
raise(session, keep_session)
raise(base .. ':messages', horizon)
return {'ok', jid, cursor, 1, 'queued', position, send or '', queue or '', now}
