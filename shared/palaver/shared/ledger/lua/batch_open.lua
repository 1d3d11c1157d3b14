-- batch_open: stores a batch, whose lines are in the file store already.
-- KEYS 1 palaver:{BID}
-- keys used  {BID}:batch hash · {BID}:session hash · {BID}:events stream
-- ARGV 1 batch id · 2 document · 3-7 retention · 8 fingerprint · 9 lines · 10 completion window in ms
--      11 '1': the first line that fails ends it · 12 tenant ('' for none)
-- reply ok, cursor, status, ms of Redis time | conflict
local base, sid, document = KEYS[1], ARGV[1], ARGV[2]
local fingerprint, lines, completion_window, fail_fast, tenant = ARGV[8], ARGV[9], tonumber(ARGV[10]), ARGV[11] == '1', ARGV[12]
-- include clock
-- include retention
-- include ttl
-- include log
-- include batch
if status then
  local known, cursor = unpack(redis.call('HMGET', batch, 'fp', 'first'))
  if known ~= fingerprint then return {'conflict'} end
  return {'ok', tonumber(cursor), status, now}
end
local cursor = tonumber(redis.call('HGET', session, 'seq') or 0)
local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)
if last[1] then cursor = math.max(cursor, tonumber(string.match(last[1][1], '^%d+'))) end
expires = now + completion_window
kept = int(expires + tonumber(keep_job))
redis.call('HSET', batch, 'doc', document, 'fp', fingerprint, 'status', 'in_progress', 'total', lines, 'next', 0,
  'created', int(now), 'expires', int(expires), 'kept', kept, 'first', cursor, 'tenant', tenant)
if fail_fast then redis.call('HSET', batch, 'fail_fast', 1) end
keep(batch)
redis.call('HSET', session, 'seq', cursor, 'tenant', tenant)
raise(session, int(kept - now))
raise(session, keep_session)
return {'ok', cursor, 'in_progress', now}
