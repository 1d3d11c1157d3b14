-- cancel: ends a job that no worker holds; asks the worker of a held one to end it.
-- KEYS 1 palaver:{SID}
-- keys used  every key of the session · NS:control channel
-- ARGV 1 session id · 2 job id · 3-7 retention · 8 cancel | interrupt | rollback · 9 error as JSON
-- reply ok, status, next job ('' for none), its queue, ms of Redis time; of a job that has ended also the ms of its end,
--       what it has spent, the gate at which it has waited, the list of unended jobs that had it ('' for none) | gone
local base, sid, jid = KEYS[1], ARGV[1], ARGV[2]
local mode, failure = ARGV[8], ARGV[9]
local job = base .. ':job:' .. jid
-- include clock
-- include retention
-- include ttl
-- include log
-- include jobs
-- include turns
-- include end
-- include past
local status = redis.call('HGET', job, 'status')
if not status then return {'gone'} end
if status ~= 'queued' and status ~= 'running' then
  local next_job, queue, ended = past_end(job)
  return {'ok', status, next_job, queue, now, ended, left_by(job)}
end
if is_held(job) then
  ask(jid, mode)
  return {'ok', status, '', '', now}
end
redis.call('HDEL', job, '_')
if mode == 'rollback' then redis.call('HSET', job, 'cancel', mode) end
local _, next_job, queue = end_unheld(jid, 'cancelled', failure)
return {'ok', 'cancelled', next_job or '', queue or '', now, now, left_by(job)}
