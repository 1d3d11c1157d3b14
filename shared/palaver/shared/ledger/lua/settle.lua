-- settle: after looking at entries of `due`, puts off or drops those that nobody else has moved meanwhile.
-- KEYS 1 palaver:due
-- ARGV entry, score that the sweeper saw, next score ('' to drop), …
-- reply ok
-- Begins with a write that is never refused for memory, as every script does that a sweep cannot do without.
redis.call('EXPIRE', KEYS[1], 400 * 24 * 3600)
for i = 1, #ARGV, 3 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then
    if ARGV[i + 2] == '' then
      redis.call('ZREM', KEYS[1], ARGV[i])
    else
      redis.call('ZADD', KEYS[1], ARGV[i + 2], ARGV[i])
    end
  end
end
return {'ok'}
