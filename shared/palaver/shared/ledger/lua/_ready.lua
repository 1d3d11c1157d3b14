-- The jobs that wait for a worker, beside their messages in the broker's queues: who names a tenant or a user is in a
-- line of its user here; users take turns in their tenant, and tenants in all, by their weights. Needs: ready, clock.
local of, sent = ready .. ':of', ready .. ':sent'
local KEEP, OVER = 8 * 86400000, 60000

local function ms_kept(...)
  for _, key in ipairs({...}) do redis.call('PEXPIRE', key, KEEP) end
end

local function waiting_for(queue)
  return ready .. ':' .. queue
end

local function line_key(queue, user, tenant)
  return ready .. ':line:' .. queue .. ':' .. user .. ':' .. tenant
end

-- Those who take turns, on a clock of their own: `turns` has those that somebody waits for, by the time of their next
-- turn; `rested` those that nobody does, and that have had turns in advance.
local function circle(name)
  return {turns = ready .. ':turns:' .. name, rested = ready .. ':rested:' .. name, clock = ready .. ':clock:' .. name}
end

local function clock_of(all)
  return tonumber(redis.call('GET', all.clock) or 0)
end

local function turn_of(all, name)
  local turn = redis.call('ZSCORE', all.turns, name) or redis.call('ZSCORE', all.rested, name) or 0
  return math.max(clock_of(all), tonumber(turn))
end

local function first_of(all)
  local name, turn = unpack(redis.call('ZRANGE', all.turns, 0, 0, 'WITHSCORES'))
  return name, tonumber(turn)
end

local function set_turn(all, name, turn, waits)
  redis.call('ZREM', waits and all.rested or all.turns, name)
  if waits or turn > clock_of(all) then
    redis.call('ZADD', waits and all.turns or all.rested, string.format('%.6f', turn), name)
  end
  ms_kept(all.turns, all.rested)
end

-- One has its turn: its next one comes a step later, and the clock goes on, to no turn that somebody still waits for.
local function have_turn(all, name, weight)
  local turn = turn_of(all, name)
  set_turn(all, name, turn + 1 / weight, redis.call('ZSCORE', all.turns, name))
  local _, first = first_of(all)
  local clock = math.max(clock_of(all), math.min(turn, first or turn))
  redis.call('SET', all.clock, string.format('%.6f', clock), 'PX', KEEP)
  redis.call('ZREMRANGEBYSCORE', all.rested, '-inf', string.format('%.6f', clock))
end

local function users_of(queue, tenant)
  return circle(queue .. '/' .. tenant)
end

-- Kept while somebody waits there for the tenant, as its last start has told.
local function weight_key(queue, tenant)
  return 'weight:' .. queue .. '/' .. tenant
end

local function place_of(entry)
  return string.match(redis.call('HGET', of, entry) or '', '^(%S+) (%S*) (.*)$')
end

local function join(entry, queue, user, tenant)
  local line, tenants, users = line_key(queue, user, tenant), circle(queue), users_of(queue, tenant)
  local order = redis.call('HINCRBY', ready, 'order', 1)
  redis.call('HSET', of, entry, queue .. ' ' .. user .. ' ' .. tenant)
  redis.call('ZADD', waiting_for(queue), order, entry)
  redis.call('ZADD', line, order, entry)
  if not redis.call('ZSCORE', users.turns, user) then set_turn(users, user, turn_of(users, user), true) end
  if not redis.call('ZSCORE', tenants.turns, tenant) then set_turn(tenants, tenant, turn_of(tenants, tenant), true) end
  ms_kept(ready, of, waiting_for(queue), line)
end

-- It waits no more. Who has nobody left waiting rests.
local function drop(entry)
  local queue, user, tenant = place_of(entry)
  if not queue then return end
  local line, tenants, users = line_key(queue, user, tenant), circle(queue), users_of(queue, tenant)
  redis.call('HDEL', of, entry)
  redis.call('ZREM', waiting_for(queue), entry)
  redis.call('ZREM', line, entry)
  if redis.call('EXISTS', line) == 0 then set_turn(users, user, turn_of(users, user), false) end
  if redis.call('EXISTS', users.turns) == 0 then
    set_turn(tenants, tenant, turn_of(tenants, tenant), false)
    redis.call('HDEL', ready, weight_key(queue, tenant))
  end
end

local function weight_of(queue, tenant)
  return tonumber(redis.call('HGET', ready, weight_key(queue, tenant)) or 1)
end

-- Jobs that are begun in a minute, by those of the last one; per ms. 0: nobody has told of any.
local function rate()
  local begun, at, since = unpack(redis.call('HMGET', ready, 'begun', 'at', 'since'))
  if not begun then return 0 end
  local over = math.max(1000, now - tonumber(since))
  return tonumber(begun) * math.exp(-(now - tonumber(at)) / OVER) / (OVER * (1 - math.exp(-over / OVER)))
end
