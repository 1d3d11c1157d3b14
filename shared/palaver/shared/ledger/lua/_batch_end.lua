-- The end of a batch, and how far it is. Needs: base, sid, clock, retention, ttl, log, batch.
local function tell_progress()
  local completed, failed, tokens, nanos, unpriced = unpack(
    redis.call('HMGET', batch, 'completed', 'failed', 'tokens', 'nanos', 'unpriced'))
  completed, failed = tonumber(completed or 0), tonumber(failed or 0)
  local cost = unpriced and '' or ',"cost":' .. string.format('%.9f', tonumber(nanos or 0) / 1e9)
  emit(sid, 0, '"type":"progress","data":{"done":' .. int(completed + failed) .. ',"total":' .. int(total)
    .. ',"failed":' .. int(failed) .. ',"tokens":' .. (tokens or 0) .. cost .. '}')
  redis.call('HSET', batch, 'told', int(now))
end

local function end_batch(final)
  redis.call('HDEL', batch, 'writer', 'told', 'called', 'calls')
  tell_progress()
  redis.call('HDEL', batch, 'told')
  local failure = redis.call('HGET', batch, 'error')
  emit(sid, 0, '"type":"stream_end","data":{"status":"' .. final .. '"' .. (failure and ',"error":' .. failure or '') .. '}')
  status, kept = final, int(now + tonumber(keep_job))
  redis.call('HSET', batch, 'status', final, 'ended', int(now), 'kept', kept)
  for _, key in ipairs({batch, parts, results, returned, deaths, leases, drivers, spent}) do keep(key) end
  raise(session, keep_session)
  redis.call('PEXPIRE', events, keep_log)
end
