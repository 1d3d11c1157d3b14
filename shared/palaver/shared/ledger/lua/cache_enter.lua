-- cache_enter: a request asks the cache for an answer. If there is none it leads, and its answer is for all who ask the
-- same; or somebody else does. The one who leads asks again to keep the lead.
-- KEYS 1 palaver:cache:{DIGEST}
-- keys used  cache:{DIGEST} string · cache:{DIGEST}:lead string
-- ARGV 1 token of who asks; an empty one only looks · 2 ms for which it leads
-- reply hit, answer | miss, to who only looks | lead | follow, ms until the lead ends if nobody keeps it
local lead, token, leads_for = KEYS[1] .. ':lead', ARGV[1], ARGV[2]
local answer = redis.call('GET', KEYS[1])
if answer then return {'hit', answer} end
if token == '' then return {'miss'} end
local leader = redis.call('GET', lead)
if leader and leader ~= token then return {'follow', redis.call('PTTL', lead)} end
redis.call('SET', lead, token, 'PX', leads_for)
return {'lead'}
