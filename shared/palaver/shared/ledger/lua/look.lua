-- look: a sweeper looks at one job and does what is due: frees an expired lease, ends what is past its deadline or
-- was given up, enters what waited for its time, repairs the session's turn, has lost messages sent again.
-- KEYS 1 palaver:{SID}
-- keys used  every key of the session · NS:control channel
-- ARGV 1 session id · 2 job id · 3-7 retention · 8 ms of Redis time: later than this, Redis has stood still during the
--      sweep or before it, and an expired lease is extended once
--      9 lease in ms, for that · 10 'dead', 'alive' or '' (not asked yet): the worker of an expired lease
--      11 broker queues that are empty, with commas around each · 12 successive deaths that make a job poisoned
--      13 error of an expired job · 14 of a poisoned one · 15 of one that is interrupted by what enters the line
-- reply word, ms of Redis time, next look (0: never), job to send ('' for none), its queue, detail
--       words: gone · ended (by now or before; detail: status) · unsure (detail: worker; ask and look again) · ok
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
local RESEND, LONGEST, IDLE = 5000, 300000, 60000
local late = now > tonumber(ARGV[8])

local state = redis.call('HMGET', job, 'status', 'holder', 'lease', 'deadline', 'parked', 'resume', 'mode', 'looks',
  'queue', 'worker', 'pseq')
local status, deadline = state[1], tonumber(state[4])

local function reply(word, next_look, send, queue, detail)
  return {word, now, next_look, send or '', queue or '', detail or ''}
end

-- A turn that was given without its message having been sent is seen here, when its giver's entry comes up.
local function unsent_turn()
  local send, queue = repair()
  local active = redis.call('HGET', session, 'active')
  if send or not active then return send, queue end
  local about = redis.call('HMGET', job_key(active), 'status', 'parked', 'queue', 'looks')
  if about[1] == 'queued' and not about[2] and not about[4] then return active, about[3] end
end

local function finished(ended_as, failure)
  local _, send, queue = end_unheld(jid, ended_as, failure)
  return reply('ended', 0, send, queue, ended_as)
end

-- A message that nobody claims may be lost: sent again when its queue is empty, else at doubling intervals.
-- Of a job that was parked, none was sent yet.
local function resend(queue)
  local looks = tonumber(redis.call('HINCRBY', job, 'looks', 1))
  local wait = math.min(RESEND * 2 ^ math.min(looks - 1, 10), LONGEST)
  local next_look = math.min(now + wait, deadline)
  local first = tonumber(state[6] or 0) > 0
  if first or looks > 1 or string.find(ARGV[11], ',' .. queue .. ',', 1, true) then return reply('ok', next_look, jid, queue) end
  return reply('ok', next_look)
end

local function free_lease()
  if late then
    local lease = now + tonumber(ARGV[9])
    redis.call('HSET', job, 'lease', int(lease))
    return reply('ok', lease)
  end
  local mode = redis.call('HGET', job, 'cancel')
  if mode and mode ~= 'expire' then return finished('cancelled', ARGV[15]) end
  if ARGV[10] == '' then return reply('unsure', now, '', '', state[10]) end
  forget_deaths(job, state[11])
  if ARGV[10] == 'dead' and redis.call('HINCRBY', job, 'deaths', 1) >= tonumber(ARGV[12]) then
    return finished('failed', ARGV[14])
  end
  redis.call('HDEL', job, 'holder', 'token', 'lease', 'worker', 'looks')
  redis.call('HSET', job, 'resume', 0, 'queue', RESUME)
  return reply('ok', now + RESEND, jid, RESUME)
end

if not status then
  unlist(jid)
  return reply('gone', 0, unsent_turn())
end
if status ~= 'queued' and status ~= 'running' then
  local send, queue = unsent_turn()
  return reply('ended', 0, send, queue, status)
end
if is_held(job) then
  if deadline <= now then ask(jid, 'expire') end
  return reply('ok', deadline > now and math.min(tonumber(state[3]), deadline) or tonumber(state[3]))
end
redis.call('HDEL', job, '_')
-- Only of a lease one cannot know whether it would have been renewed.
if deadline <= now and not (state[2] and late) then return finished('expired', ARGV[13]) end
if state[2] then return free_lease() end
local due = math.max(tonumber(state[5] or 0), tonumber(state[6] or 0))
if due > now then return reply('ok', math.min(due, deadline)) end
if state[5] then
  redis.call('HDEL', job, 'parked')
  local send, queue = enter(jid, state[7] or 'enqueue', ARGV[15])
  raise(waiting, redis.call('PTTL', job))
  return reply('ok', now + RESEND, send, queue)
end
if status == 'running' or state[7] == 'parallel' or redis.call('HGET', session, 'active') == jid then
  return resend(state[9])
end
local send, queue = repair()
return reply('ok', math.min(now + IDLE, deadline), send, queue)
