-- finish: a worker ends its job. The first end wins; the same worker asking again gets the first reply.
-- KEYS 1 palaver:{SID}
-- keys used  every key of the session
-- ARGV 1 session id · 2 job id · 3-7 retention · 8 fence · 9 status · 10 stream_end: JSON of "type" and "data"
--      11 response · 12 error · 13 what was spent, '' to leave it · 14… messages for the session's history
-- reply ok, status, seq of stream_end, next job ('' for none), its queue, ms of Redis time, and of its end,
--       the list of unended jobs that had it
--       | gone | ended, status | fenced
local base, sid, jid, fence = KEYS[1], ARGV[1], ARGV[2], ARGV[8]
local ends_as, stream_end, response, failure, spent = ARGV[9], ARGV[10], ARGV[11], ARGV[12], ARGV[13]
local FIRST_MESSAGE = 14
local job = base .. ':job:' .. jid
-- include fence
-- include clock
-- include past
if verdict then
  if verdict[1] ~= 'ended' then return verdict end
  local seq, by = string.match(redis.call('HGET', job, 'done'), '(%d+) (%S+) %d+ %d+$')
  if by ~= fence then return verdict end
  local next_job, queue, ended = past_end(job)
  return {'ok', status, tonumber(seq), next_job, queue, now, ended, counts_in(job)}
end
-- include retention
-- include ttl
-- include log
-- include jobs
-- include turns
-- include end
local result, history = {response = response, error = failure, spent = spent}, {}
if response == '' then
  result.text = redis.call('GET', job .. ':text') or ''
  result.reasoning = redis.call('GET', job .. ':reasoning') or ''
end
for i = FIRST_MESSAGE, #ARGV do history[#history + 1] = ARGV[i] end
local seq, next_job, queue = end_job(jid, ends_as, fence, stream_end, result, history)
return {'ok', ends_as, seq, next_job or '', queue or '', now, now, counts_in(job)}
