-- expire: ends a job whose deadline has passed, whoever notices. A held job is its worker's to end, who is asked to.
-- KEYS 1 palaver:{SID}
-- keys used  every key of the session · NS:control channel
-- ARGV 1 session id · 2 job id · 3-7 retention · 8 error as JSON
-- reply ok, status, next job ('' for none), its queue, ms of Redis time, and of its end and what it has spent if it has
--       ended | early, status, ms to the deadline | gone
local base, sid, jid = KEYS[1], ARGV[1], ARGV[2]
local job = base .. ':job:' .. jid
-- include clock
-- include retention
-- include ttl
-- include log
-- include jobs
-- include turns
-- include end
-- include past
local state = redis.call('HMGET', job, 'status', 'deadline')
if not state[1] then return {'gone'} end
if state[1] ~= 'queued' and state[1] ~= 'running' then
  local next_job, queue, ended = past_end(job)
  return {'ok', state[1], next_job, queue, now, ended, spent_by(job)}
end
if tonumber(state[2]) > now then return {'early', state[1], tonumber(state[2]) - now} end
if is_held(job) then
  ask(jid, 'expire')
  return {'ok', state[1], '', '', now}
end
local _, next_job, queue = end_unheld(jid, 'expired', ARGV[8])
return {'ok', 'expired', next_job or '', queue or '', now, now, spent_by(job)}
