-- The webhooks that are to be delivered: each tenant's by when they are due, and tenants in turns. Needs: webhooks, clock.
-- `webhooks` has each tenant by when its next turn comes: when its first webhook is due, or, while one is, since when it
-- waits for a turn, so that who has had one goes behind all who wait.
local whose = webhooks .. ':whose'
local KEPT = 400 * 24 * 3600

-- In ms: within one, turns keep their order too.
local exact = tonumber(clock[1]) * 1000 + tonumber(clock[2]) / 1000

local function digits(ms)
  return string.format('%.3f', ms)
end

local function line_of(tenant)
  return webhooks .. ':of:' .. tenant
end

local function keep(tenant)
  for _, key in ipairs({webhooks, whose, line_of(tenant)}) do redis.call('EXPIRE', key, KEPT) end
end

local function wait_for_turn(tenant)
  local first = redis.call('ZRANGE', line_of(tenant), 0, 0, 'WITHSCORES')[2]
  if first then
    redis.call('ZADD', webhooks, digits(math.max(exact, tonumber(first))), tenant)
  else
    redis.call('ZREM', webhooks, tenant)
  end
end

-- A webhook has come, or gone, or is due at another time. Who waits for a turn keeps its place.
local function see_to(tenant)
  local turn = tonumber(redis.call('ZSCORE', webhooks, tenant) or math.huge)
  if turn > exact or redis.call('EXISTS', line_of(tenant)) == 0 then wait_for_turn(tenant) end
end
