-- cache_leave: who led has an answer for all, or none; those who follow are told.
-- KEYS 1 palaver:cache:{DIGEST}
-- keys used  cache:{DIGEST} string, and channel · cache:{DIGEST}:lead string
-- ARGV 1 token of who led · 2 what became of it, for those who follow · 3 ms to keep the answer · 4 answer ('': none)
-- reply ok
-- The answer comes last: where a full Redis refuses it, nobody is left waiting.
local lead = KEYS[1] .. ':lead'
if redis.call('GET', lead) == ARGV[1] then redis.call('DEL', lead) end
redis.call('PUBLISH', KEYS[1], ARGV[2])
if ARGV[4] ~= '' then redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3]) end
return {'ok'}
