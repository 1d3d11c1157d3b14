-- Gives a key at least this long to live, in milliseconds. (PEXPIRE's GT is younger than Redis 6.2.)
local function raise(key, ms)
  local left = redis.call('PTTL', key)
  if left ~= -2 and left < tonumber(ms) then redis.call('PEXPIRE', key, ms) end
end
