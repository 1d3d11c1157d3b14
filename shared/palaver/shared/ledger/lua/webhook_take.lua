-- webhook_take: webhooks whose time has come, for whoever asks; nobody else is given them for a while. Tenants have turns
-- of one webhook, but for those that have their part already.
-- KEYS 1 palaver:webhooks:{all}
-- keys used  as webhook_enter
-- ARGV 1 ms until they may be given to another · 2 how many at most
--      3 how many of one tenant, with those of it that the caller is seeing to
--      4… tenant ('' of those that name none), how many of its the caller is seeing to, …
-- reply 1 if others are due (else 0), entry, tenant, …
local webhooks, pause, most, of_one, running = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), {}
-- include clock
-- include webhooks
redis.call('EXPIRE', webhooks, KEPT)
for i = 4, #ARGV, 2 do running[ARGV[i]] = tonumber(ARGV[i + 1]) end
local reply, room = {0}, most

local function take(tenant)
  local entry = redis.call('ZRANGEBYSCORE', line_of(tenant), '-inf', int(now), 'LIMIT', 0, 1)[1]
  if entry then
    redis.call('ZADD', line_of(tenant), int(now + pause), entry)
    reply[#reply + 1], reply[#reply + 2] = entry, tenant
    running[tenant], room = (running[tenant] or 0) + 1, room - 1
  end
  wait_for_turn(tenant)
  return entry
end

-- Nobody has more than is left for all others: so few who are slow do not have all.
local function may_have_more(tenant)
  return (running[tenant] or 0) < math.min(of_one, room)
end

-- Beside the tenants that the caller sees to already, so many that each has one to give.
local waiting = redis.call('ZRANGEBYSCORE', webhooks, '-inf', digits(exact), 'LIMIT', 0, most + (#ARGV - 3) / 2)
while #waiting > 0 do
  local again = {}
  for _, tenant in ipairs(waiting) do
    if may_have_more(tenant) and take(tenant) then again[#again + 1] = tenant end
  end
  waiting = again
end
reply[1] = redis.call('ZCOUNT', webhooks, '-inf', digits(exact)) > 0 and 1 or 0
return reply
