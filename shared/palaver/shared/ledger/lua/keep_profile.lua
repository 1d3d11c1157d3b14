-- keep_profile: has a sealed profile live as long as a job that names it.
-- KEYS 1 palaver:profile:NAME
-- ARGV 1 ms · 2 the profile, '' by who has only its name
-- reply 1 | 0: nobody has it any more
-- include ttl
local key, kept_for, content = KEYS[1], tonumber(ARGV[1]), ARGV[2]
if content ~= '' then redis.call('SET', key, content, 'KEEPTTL') end
raise(key, kept_for)
return redis.call('EXISTS', key)
