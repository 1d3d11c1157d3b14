-- ready_begun: a worker has begun jobs. They wait no more; and others who wait, and whose turn was before the one that
-- these have had, are to be sent at once, before what stands in the queue.
-- KEYS 1 palaver:ready:{all}
-- keys used  as ready_enter · …:sent zset (SID/JID that were named in a reply → ms of Redis time) ·
--       …:told:WORKER string: the token of its last call, and the reply
-- ARGV 1 worker · 2 token of the call · 3 '1': jobs wait in the queue; else nobody is to be sent
--      4 SID/JID, queue, user, tenant, weight of the tenant, '1' for its first run: others are nobody's turn; …
-- reply ok, how many wait in these queues, jobs to send
local ready, worker, token, are_waiting = KEYS[1], ARGV[1], ARGV[2], ARGV[3] == '1'
-- include clock
-- include ready
local told = ready .. ':told:' .. worker
-- One call sends no more than MOST: Redis does nothing else meanwhile, and the next start brings the others.
local KEEP_TOLD, KEEP_SENT, MOST = 60000, 3600000, 20
local to_send = {}

-- Sends the next job of the tenant, which has its turn by this.
local function send_next(queue, tenant)
  local users = users_of(queue, tenant)
  local user = first_of(users)
  local entry = user and redis.call('ZRANGE', line_key(queue, user, tenant), 0, 0)[1]
  if not entry then
    -- Its line was so old that it is no more.
    redis.call('ZREM', user and users.turns or circle(queue).turns, user or tenant)
    return
  end
  have_turn(users, user, 1)
  have_turn(circle(queue), tenant, weight_of(queue, tenant))
  drop(entry)
  redis.call('ZADD', sent, int(now), entry)
  to_send[#to_send + 1] = entry
end

-- Those whose turn was before the one that `name` has just had. Not those before its next one: where messages come in
-- turn by themselves, nobody is sent twice.
local function catch_up(all, name, weight, queue, tenant)
  local had = turn_of(all, name) - 1 / weight
  while #to_send < MOST do
    local first, turn = first_of(all)
    if not first or turn > had - 0.00001 then return end
    send_next(queue, tenant or first)
  end
end

local function note_weight(queue, tenant, weight)
  if weight ~= '1' and redis.call('ZSCORE', circle(queue).turns, tenant) then
    redis.call('HSET', ready, weight_key(queue, tenant), weight)
  else
    redis.call('HDEL', ready, weight_key(queue, tenant))
  end
end

local function begin(entry, queue, user, tenant, weight, is_first)
  note_weight(queue, tenant, weight)
  -- Who was sent has had its turn then.
  if redis.call('ZREM', sent, entry) == 1 then return end
  if not is_first then return drop(entry) end
  have_turn(users_of(queue, tenant), user, 1)
  have_turn(circle(queue), tenant, tonumber(weight))
  drop(entry)
  if are_waiting then
    catch_up(users_of(queue, tenant), user, 1, queue, tenant)
    catch_up(circle(queue), tenant, tonumber(weight), queue)
  end
end

local function count(jobs)
  local begun, at, since = unpack(redis.call('HMGET', ready, 'begun', 'at', 'since'))
  local silence = now - tonumber(at or 0)
  if silence > 2 * OVER or silence < 0 then begun, since = 0, now end
  begun = tonumber(begun) * math.exp(-math.max(0, silence) / OVER) + jobs
  redis.call('HSET', ready, 'begun', string.format('%.6f', begun), 'at', int(now), 'since', int(tonumber(since)))
end

redis.call('HDEL', ready, '_')
local last, waited, named = string.match(redis.call('GET', told) or '', '^(%S+) (%d+) ?(.*)$')
if last == token then
  for entry in string.gmatch(named, '%S+') do to_send[#to_send + 1] = entry end
  return {'ok', tonumber(waited), to_send}
end
count((#ARGV - 3) / 6)
local waiting, queues = 0, {}
for i = 4, #ARGV, 6 do
  begin(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5] == '1')
  queues[ARGV[i + 1]] = true
end
for queue in pairs(queues) do waiting = waiting + redis.call('ZCARD', waiting_for(queue)) end
redis.call('ZREMRANGEBYSCORE', sent, '-inf', int(now - KEEP_SENT))
ms_kept(ready, sent)
redis.call('SET', told, table.concat({token, int(waiting), unpack(to_send)}, ' '), 'PX', KEEP_TOLD)
return {'ok', waiting, to_send}
