-- expire: ends a job whose deadline has passed, whoever notices. A held job is its worker's to end, who is asked to.
-- KEYS 1 palaver:{SID}
-- keys used  every key of the session · NS:control channel
-- ARGV 1 session id · 2 job id · 3-7 retention · 8 error as JSON
-- reply ok, status, next job ('' for none), its queue, ms of Redis time; of a job that has ended also the ms of its end,
--       what it has spent, the gate at which it has waited, the list of unended jobs that had it ('' for none) | early, status, ms to the deadline | gone
local base, sid, jid, failure = KEYS[1], ARGV[1], ARGV[2], ARGV[8]
local job = base .. ':job:' .. jid
-- include clock
-- include retention
-- include ttl
-- include log
-- include jobs
-- include turns
-- include end
-- include past
local status, deadline = unpack(redis.call('HMGET', job, 'status', 'deadline'))
if not status then return {'gone'} end
if status ~= 'queued' and status ~= 'running' then
  local next_job, queue, ended = past_end(job)
  return {'ok', status, next_job, queue, now, ended, left_by(job)}
end
local left = tonumber(deadline) - now
if left > 0 then return {'early', status, left} end
if is_held(job) then
  ask(jid, 'expire')
  return {'ok', status, '', '', now}
end
local _, next_job, queue = end_unheld(jid, 'expired', failure)
return {'ok', 'expired', next_job or '', queue or '', now, now, left_by(job)}
