-- messages: a part of the session's history, with what the job that has the turn will add to it first. Reads only.
-- KEYS 1 palaver:{SID}
-- ARGV 1 place of the first message, from 0 · 2 place of the last one; -1: all that follow
-- keys used  {SID}:messages list · {SID}:session hash · {SID}:job:JID hash
-- reply messages as JSON · those of the active job as JSON, one a line, if the part goes on beyond the
--   history · how many the history has
local base, first, last = KEYS[1], ARGV[1], ARGV[2]
local length = redis.call('LLEN', base .. ':messages')
local goes_on = last == '-1' or tonumber(last) >= length
local active = goes_on and redis.call('HGET', base .. ':session', 'active')
local pending = active and redis.call('HGET', base .. ':job:' .. active, 'user')
return {redis.call('LRANGE', base .. ':messages', first, last), pending or '', length}
