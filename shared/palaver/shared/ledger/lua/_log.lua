-- One entry of the log and its twin on the channel; `v` is the version of the contract. Needs: base, sid, maxlen, stamp.
local events = base .. ':events'
local session = base .. ':session'
-- Said by a script that has looked, and has found nothing: its first event needs no look of its own.
local log_is_empty = false

local function head(jid, attempt)
  return ',"v":1,"session_id":"' .. sid .. '","job_id":"' .. jid .. '","attempt":' .. attempt .. ',"time":' .. stamp .. ','
end

-- The slow path of `write`: the log is not there, or the session's counter is behind it (after a failover).
local function rewrite(seq, heading, inner)
  local last = log_is_empty and {} or redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)
  log_is_empty = false
  if last[1] then
    local top = tonumber(string.match(last[1][1], '^%d+'))
    if top >= seq then seq = top + 1 end
  end
  local event = '{"seq":' .. seq .. heading .. inner .. '}'
  redis.call('XADD', events, 'MAXLEN', '~', maxlen, seq .. '-0', 'e', event)
  if redis.call('PTTL', events) < 0 then
    redis.call('PEXPIRE', events, math.max(redis.call('PTTL', session), 3600000))
  end
  redis.call('PUBLISH', base, event)
  return seq
end

-- Logs and publishes one event; returns the seq that it got, which the caller keeps in the session.
local function write(seq, heading, inner)
  local event = '{"seq":' .. seq .. heading .. inner .. '}'
  -- NOMKSTREAM: a log made anew needs a TTL. pcall: an id below the log's last is refused, and so nothing is lost.
  local added = not log_is_empty and redis.pcall('XADD', events, 'NOMKSTREAM', 'MAXLEN', '~', maxlen, seq .. '-0', 'e', event)
  if type(added) ~= 'string' then return rewrite(seq, heading, inner) end
  redis.call('PUBLISH', base, event)
  return seq
end

local function emit(jid, attempt, inner)
  local seq = tonumber(redis.call('HGET', session, 'seq') or 0) + 1
  seq = write(seq, head(jid, attempt), inner)
  if redis.call('HSET', session, 'seq', seq) == 1 and redis.call('PTTL', session) < 0 then
    redis.call('PEXPIRE', session, math.max(redis.call('PTTL', events), 3600000))
  end
  return seq
end
