-- admit: gives jobs that are to be stored places among those that have not ended, of a tenant or of all.
-- KEYS 1 palaver:unended:{all} | palaver:unended:{=TENANT}
-- keys used  KEYS 1 zset, by when a job has ended for sure · KEYS 1:pace hash: `admitted` ever, and from the last look at
--            how fast they end `since` ms of Redis time and how many had `left` by then
-- ARGV 1 how many there may be · 2… entry SID/JID, …
-- reply ok, how many there are, ms until one has ended, of each entry: 2 (it has a place now) 1 (it had one) 0 (none),
--       and if one has none: entries whose time is over
-- A place is for a minute; who has stored the job prolongs it. A job's end takes its entry out. What nobody has
-- prolonged, or taken out, counts until somebody who needs its place has seen whether there is such a job.
-- include clock
local BRIEF, PACE, UNKNOWN, SOONEST, LATEST, KEPT, LAPSED = 60000, 60000, 5000, 1000, 60000, 400 * 24 * 3600, 100
local unended, pace, most = KEYS[1], KEYS[1] .. ':pace', tonumber(ARGV[1])
local count, added, refused = redis.call('ZCARD', unended), 0, false
local reply = {'ok', 0, 0}
for i = 2, #ARGV do
  local entry = ARGV[i]
  if redis.call('ZSCORE', unended, entry) then
    reply[#reply + 1] = 1
  elseif count + added < most then
    redis.call('ZADD', unended, int(now + BRIEF), entry)
    added = added + 1
    reply[#reply + 1] = 2
  else
    refused = true
    reply[#reply + 1] = 0
  end
end
local admitted = redis.call('HINCRBY', pace, 'admitted', added)
if refused then
  local left = admitted - count - added
  local since, left_then = unpack(redis.call('HMGET', pace, 'since', 'left'))
  local ended = left - tonumber(left_then or left)
  reply[3] = ended > 0 and math.min(math.max(math.floor((now - since) / ended), SOONEST), LATEST) or UNKNOWN
  if not since or now - since > PACE then redis.call('HSET', pace, 'since', int(now), 'left', left) end
end
redis.call('EXPIRE', unended, KEPT)
redis.call('EXPIRE', pace, KEPT)
reply[2] = count + added
if refused then
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', unended, '-inf', int(now), 'LIMIT', 0, LAPSED)) do
    reply[#reply + 1] = entry
  end
end
return reply
