-- take_webhooks: webhooks whose time has come, for whoever asks; nobody else is given them for a while. The longest due
-- come first, but a tenant whose part is full is passed over.
-- KEYS 1 palaver:webhooks:{all}
-- keys used  KEYS 1 zset of SID/JID by when they are due · KEYS 1:whose hash: the tenant of those that name one
-- ARGV 1 ms until they may be given to another · 2 how many at most · 3 how many of one tenant, with those that
--      4… tenant, how many of its the caller is seeing to, … ('' is the tenant of those that name none)
-- reply 1 if others are due (else 0), entry, tenant, …
-- include clock
local LOOKED, ROW, KEPT = 300, 1000, 400 * 24 * 3600
local registry, whose, pause = KEYS[1], KEYS[1] .. ':whose', tonumber(ARGV[1])
local most, of_one, running = tonumber(ARGV[2]), tonumber(ARGV[3]), {}
for i = 4, #ARGV, 2 do running[ARGV[i]] = tonumber(ARGV[i + 1]) end
redis.call('EXPIRE', registry, KEPT)
redis.call('EXPIRE', whose, KEPT)
local entries = redis.call('ZRANGEBYSCORE', registry, '-inf', int(now), 'LIMIT', 0, LOOKED)
if #entries == 0 then return {0} end
local tenants = redis.call('HMGET', whose, unpack(entries))
local reply, taken, passed = {0}, 0, {}
for i, entry in ipairs(entries) do
  local tenant = tenants[i] or ''
  local runs = running[tenant] or 0
  if runs < of_one and taken < most then
    running[tenant], taken = runs + 1, taken + 1
    redis.call('ZADD', registry, int(now + pause), entry)
    reply[#reply + 1] = entry
    reply[#reply + 1] = tenant
  elseif runs >= of_one and #entries == LOOKED then
    -- Those behind are to be seen: so many of a tenant that is full come back a second later, as many after two, …
    passed[tenant] = (passed[tenant] or 0) + 1
    redis.call('ZADD', registry, int(now + ROW * math.ceil(passed[tenant] / of_one)), entry)
  end
end
reply[1] = (taken < #entries or #entries == LOOKED) and 1 or 0
return reply
