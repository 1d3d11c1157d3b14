-- look: a sweeper looks at one job and does what is due: frees an expired lease, ends what is past its deadline or
-- was given up, enters what waited for its time, repairs the session's turn, has lost messages sent again.
-- KEYS 1 palaver:{SID}
-- keys used  every key of the session · NS:control channel
-- ARGV 1 session id · 2 job id · 3-7 retention · 8 when the sweep began, ms of Redis time
--      9 and 10: a lease that ran out after the one is left alone until the other, as nobody could renew it
--      11 'dead', 'alive' or '' (not asked yet): the worker of an expired lease
--      12 successive deaths that make a job poisoned
--      13 error of an expired job · 14 of a poisoned one · 15 of one that is interrupted by what enters the line
--      16 of one that was not to wait and finds its session busy
--      17… queue, ms of Redis time: a message sent before is not in it any more, where to send it again then; …
-- reply word, ms of Redis time, next look (0: never), job to send ('' for none), its queue, detail, ms of its end,
--       what it has spent, the gate at which it has waited, the list of unended jobs that had it ('' for none),
--       and a job that was ended for this one ('' for none)
--       words: gone · ended (by now or before; detail: status) · unsure (detail: worker; ask and look again) · ok
--              queued (its message waits in the queue named, since detail in ms: look again when that has passed it)
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
-- include deaths
-- include past
local RESEND, LONGEST, IDLE, SLOW = 5000, 300000, 60000, 3000
local began, stopped, spared_until = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local worker_is, deaths_allowed = ARGV[11], tonumber(ARGV[12])
local expired, poisoned, interrupted, busy = ARGV[13], ARGV[14], ARGV[15], ARGV[16]
local passed = {}
for i = 17, #ARGV, 3 do passed[ARGV[i]] = {before = tonumber(ARGV[i + 1]), resend_to = ARGV[i + 2]} end

local status, holder, worker, taken, parked, mode, queue = unpack(
  redis.call('HMGET', job, 'status', 'holder', 'worker', 'pseq', 'parked', 'mode', 'queue'))

local function number(name)
  return tonumber(redis.call('HGET', job, name))
end
local lease, term, deadline, resume = number('lease'), number('term') or 0, number('deadline'), number('resume') or 0
local sent, resends = number('sent'), number('resends') or 0

local function reply(word, next_look, send, queue, detail, ended, interrupts)
  local spent, gate, counts = '', '', ''
  if word == 'ended' then spent, gate, counts = left_by(job) end
  return {word, now, next_look, send or '', queue or '', detail or '', ended or 0, spent, gate, counts, interrupts or ''}
end

local function send_again(other, other_queue)
  redis.call('HSET', job_key(other), 'sent', int(now), 'queue', other_queue)
  redis.call('HINCRBY', job_key(other), 'resends', 1)
end

-- A turn that was given without its message having been sent is seen here, when its giver's entry comes up.
local function unsent_turn()
  local send, send_queue = repair()
  local active = redis.call('HGET', session, 'active')
  if send or not active then return send, send_queue end
  local its_status, its_parked, its_queue, its_resends = unpack(
    redis.call('HMGET', job_key(active), 'status', 'parked', 'queue', 'resends'))
  if its_status ~= 'queued' or its_parked or its_resends then return nil end
  send_again(active, its_queue)
  return active, its_queue
end

local function finished(ended_as, failure)
  local _, send, queue = end_unheld(jid, ended_as, failure)
  return reply('ended', 0, send, queue, ended_as, now)
end

-- A message can only be lost if its queue has passed it: if one that was sent after it has left the queue, or the
-- queue was empty since. Of a job that was parked, none was sent yet.
local function resend()
  if not sent then
    note_sent(jid, queue)
    return reply('ok', math.min(now + RESEND, deadline), jid, queue)
  end
  if sent > now then
    -- The clock was set back.
    sent = now
    redis.call('HSET', job, 'sent', int(now))
  end
  local patience = math.min(RESEND * 2 ^ math.min(resends, 10), LONGEST)
  if now < sent + patience then return reply('ok', math.min(sent + patience, deadline)) end
  local lost = passed[queue]
  if not lost or sent >= lost.before then return reply('queued', deadline, '', queue, int(sent)) end
  send_again(jid, lost.resend_to)
  return reply('ok', math.min(now + 2 * patience, deadline), jid, lost.resend_to)
end

-- Until when a lease that has run out is left alone: its worker may not have been able to renew it.
local function spared()
  -- Redis has stood still since the sweep began, and the next sweep will know for how long.
  if now > began + SLOW then return now end
  return lease > stopped and now < spared_until and spared_until or nil
end

local function free_lease()
  local asked = redis.call('HGET', job, 'cancel')
  if asked and asked ~= 'expire' then return finished('cancelled', interrupted) end
  if worker_is == '' then return reply('unsure', now, '', '', worker) end
  forget_deaths(job, taken)
  if worker_is == 'dead' and redis.call('HINCRBY', job, 'deaths', 1) >= deaths_allowed then
    return finished('failed', poisoned)
  end
  redis.call('HDEL', job, 'holder', 'lease', 'term', 'worker')
  redis.call('HSET', job, 'resume', 0)
  note_sent(jid, RESUME)
  return reply('ok', now + RESEND, jid, RESUME)
end

-- The time of a job for later has come: what `on_busy` says is done now.
local function begin()
  redis.call('HDEL', job, 'parked')
  if mode == 'reject' then
    local send, send_queue = repair()
    if redis.call('HEXISTS', session, 'active') == 1 then
      end_unheld(jid, 'failed', busy)
      return reply('ended', 0, send, send_queue, 'failed', now)
    end
  end
  local send, send_queue, interrupts = enter(jid, mode or 'enqueue', interrupted)
  raise(waiting, redis.call('PTTL', job))
  return reply('ok', now + RESEND, send, send_queue, '', 0, interrupts)
end

if not status then
  unlist(jid)
  leave(jid)
  return reply('gone', 0, unsent_turn())
end
if status ~= 'queued' and status ~= 'running' then
  local send, queue = unsent_turn()
  local _, _, ended = past_end(job)
  return reply('ended', 0, send, queue, status, ended)
end
redis.call('HDEL', job, '_')
if holder and lease > now + term then
  -- The clock was set back. Its worker, if it lives, renews before that.
  lease = now + term
  redis.call('HSET', job, 'lease', int(lease))
end
if is_held(job) then
  if deadline <= now then ask(jid, 'expire') end
  return reply('ok', deadline > now and math.min(lease, deadline) or lease)
end
local later = holder and spared()
if later then return reply('ok', later) end
if deadline <= now then return finished('expired', expired) end
if holder then return free_lease() end
local due = math.max(tonumber(parked or 0), resume)
if due > now then return reply('ok', math.min(due, deadline)) end
if parked then return begin() end
if status == 'running' or mode == 'parallel' or redis.call('HGET', session, 'active') == jid then return resend() end
local send, send_queue = repair()
return reply('ok', math.min(now + IDLE, deadline), send, send_queue)
