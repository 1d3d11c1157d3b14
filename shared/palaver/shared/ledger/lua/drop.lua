-- drop: takes letters away from the dead ones, so that no repeat of their jobs' ends brings them back (see bury).
-- KEYS 1 palaver:dead
-- ARGV entries SID/JID …
-- reply how many of them are dropped letters now
-- Begins with a write that is never refused for memory.
local letters = KEYS[1]
redis.call('ZREM', letters, '')
local dropped = 0
for _, entry in ipairs(ARGV) do
  local score = tonumber(redis.call('ZSCORE', letters, entry) or 0)
  if score > 0 then redis.call('ZADD', letters, string.format('%d', -score), entry) end
  if score ~= 0 then dropped = dropped + 1 end
end
return dropped
