-- save_round: a worker stores a finished round (tool calls, continue) before the job's next provider request.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:job:JID hash
-- ARGV 1 session id · 2 job id · 3 attempt · 4 number of the round, from 1 · 5 the round
-- reply ok, cancel flag, rounds stored | gone | ended, status | fenced | gap, rounds stored
local job, attempt = KEYS[1] .. ':job:' .. ARGV[2], ARGV[3]
-- include fence
if verdict then return verdict end
local stored, number = tonumber(redis.call('HGET', job, 'rounds') or 0), tonumber(ARGV[4])
if number > stored + 1 then return {'gap', stored} end
if number == stored + 1 then
  redis.call('HSET', job, 'round:' .. number, ARGV[5], 'rounds', number)
  stored = number
end
return {'ok', cancel, stored}
