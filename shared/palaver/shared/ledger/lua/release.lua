-- release: a worker gives its job back, at once (hand-over) or until a time (parking). The session keeps its turn,
-- the job its text.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:job:JID hash
-- ARGV 1 session id · 2 job id · 3 fence · 4 resume at, ms of Redis time · 5 or so many ms from now; both 0: at once
--      6 what was spent so far, '' to leave it · 7 profile at whose gate it waits, and is sent when it has a place; ''
-- reply ok, queue to send to ('' while parked), next look at it in ms of Redis time | gone | ended, status | fenced
local job, fence = KEYS[1] .. ':job:' .. ARGV[2], ARGV[3]
local resume_at, delay, spent, gate = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7]
-- include fence
-- include clock
-- include deaths
local last_attempt, resume = unpack(redis.call('HMGET', job, 'attempt', 'resume'))
resume = tonumber(resume or -1)
local released = status == 'running' and not holder and last_attempt == attempt and resume >= 0
if verdict and not released then return verdict end
if not verdict then
  resume = math.max(resume_at, delay > 0 and now + delay or 0)
  -- Who was asked to end while it was being parked does not wait for its time: its next claim ends it.
  if cancel ~= '' then resume = 0 end
  forget_deaths(job, redis.call('HGET', job, 'pseq'))
  redis.call('HDEL', job, 'holder', 'lease', 'term', 'worker', 'sent', 'resends')
  redis.call('HSET', job, 'resume', int(resume), 'queue', 'palaver.resume')
  if resume <= now then redis.call('HSET', job, 'sent', int(now)) end
  if spent ~= '' then redis.call('HSET', job, 'spent', spent) end
  if gate ~= '' and resume > now then redis.call('HSET', job, 'gate', gate) end
end
if resume > now then return {'ok', '', math.min(resume, tonumber(redis.call('HGET', job, 'deadline')))} end
return {'ok', 'palaver.resume', now + 5000}
