-- refuse: a job that names itself but cannot be accepted (its document is not valid, say) ends at once as failed.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:job:JID hash · {SID}:session hash · {SID}:jobs zset · {SID}:ended zset · {SID}:events stream
-- ARGV 1 session id · 2 job id · 3-7 retention · 8 error as JSON
-- reply ok, status, cursor (the seq before its first event) | exists, status
local base, sid, jid, failure = KEYS[1], ARGV[1], ARGV[2], ARGV[8]
local job = base .. ':job:' .. jid
-- include clock
-- include retention
-- include ttl
-- include log
-- include jobs
-- include turns
-- include end
local fingerprint, status, done = unpack(redis.call('HMGET', job, 'fp', 'status', 'done'))
if status then
  if fingerprint == 'refused' then return {'ok', status, tonumber(string.match(done, '(%d+) %d+$'))} end
  return {'exists', status}
end
redis.call('HSET', job, 'fp', 'refused', 'status', 'queued', 'created', int(now))
list(jid, '+inf')
local seq = end_unheld(jid, 'failed', failure)
return {'ok', 'failed', seq - 1}
