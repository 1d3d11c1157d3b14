-- cache_leave: who led has an answer for all, or none; those who follow are told.
-- KEYS 1 palaver:cache:{DIGEST}
-- keys used  cache:{DIGEST} string, and channel · cache:{DIGEST}:lead string
-- ARGV 1 token of who led · 2 what became of it, for those who follow · 3 ms to keep the answer · 4 answer ('': none)
-- reply ok
-- The answer comes last: where a full Redis refuses it, nobody is left waiting.
local key, lead = KEYS[1], KEYS[1] .. ':lead'
local token, outcome, kept_for, answer = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('GET', lead) == token then redis.call('DEL', lead) end
redis.call('PUBLISH', key, outcome)
if answer ~= '' then redis.call('SET', key, answer, 'PX', kept_for) end
return {'ok'}
