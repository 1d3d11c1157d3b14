-- batch_leave: a driver ends, and what it holds is anybody's again.
-- KEYS 1 palaver:{BID}
-- keys used  {BID}:batch and what begins with it
-- ARGV 1 batch id · 2 token of the driver
-- reply ok
local base, token = KEYS[1], ARGV[2]
-- include clock
-- include batch
if status and redis.call('ZSCORE', leases, token) then
  give_back(token, false)
  advance()
end
return {'ok'}
