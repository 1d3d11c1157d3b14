-- settle: after looking at entries of `due` or `gates`, puts off or drops those that nobody else has moved meanwhile.
-- KEYS 1 palaver:due | palaver:gates
-- ARGV entry, score that the sweeper saw, next score ('' to drop), …
-- reply ok
-- Begins with a write that is never refused for memory, as every script does that a sweep cannot do without.
local due = KEYS[1]
redis.call('EXPIRE', due, 400 * 24 * 3600)
for i = 1, #ARGV, 3 do
  local entry, seen, next_look = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local score = redis.call('ZSCORE', due, entry)
  if score and tonumber(score) == seen then
    if next_look == '' then
      redis.call('ZREM', due, entry)
    else
      redis.call('ZADD', due, next_look, entry)
    end
  end
end
return {'ok'}
