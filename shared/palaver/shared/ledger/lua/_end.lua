-- The end of a job, whoever ends it. Needs: base, sid, clock, retention, ttl, log, jobs, turns.
local ESCAPES = {['"'] = '\\"', ['\\'] = '\\\\'}

-- A JSON string. (cjson would also escape every slash; text is UTF-8 already.)
local function quote(text)
  return '"' .. string.gsub(text, '[%z\1-\31"\\]', function(c)
    return ESCAPES[c] or string.format('\\u%04x', string.byte(c))
  end) .. '"'
end

-- What the job had while it could run, and needs no more. (`deaths` stays, for whoever asks why it ended.)
local function strip(job)
  local journal = tonumber(redis.call('HGET', job, 'journal') or 0)
  redis.call('HDEL', job, 'holder', 'worker', 'lease', 'term', 'pseq', 'cancel', 'sent', 'resends', 'resume',
    'parked', 'journal', 'user', 'hist', 'tries', 'mode', 'queue', 'next', 'created', 'started', 'deadline', 'attempt',
    'first', 'from')
  for i = 1, journal do redis.call('HDEL', job, 'journal:' .. i) end
end

-- The latest messages of the session, within its bounds; the last one in any case.
local function remember(history)
  if #history == 0 then return end
  local messages = base .. ':messages'
  local size = tonumber(redis.call('HGET', session, 'remembers') or 0)
  if redis.call('EXISTS', messages) == 0 then size = 0 end
  local count
  for _, message in ipairs(history) do
    count, size = redis.call('RPUSH', messages, message), size + #message
  end
  local most, most_bytes = string.match(history_bounds, '^(%d+) (%d+)$')
  while count > tonumber(most) or (size > tonumber(most_bytes) and count > 1) do
    count, size = count - 1, size - #redis.call('LPOP', messages)
  end
  redis.call('HSET', session, 'remembers', int(math.max(size, 0)))
  raise(messages, keep_session)
end

-- An ended job is kept until a time, and the list of jobs until the last of those times. That need not be this one's:
-- what ended before the clock was set back is kept by the time that it was then.
local function keep(job, key, listed_until)
  local until_then = now + keep_job
  redis.call('PEXPIREAT', job, int(until_then))
  if key then redis.call('PEXPIRE', base .. ':key:' .. key, keep_job) end
  redis.call('DEL', job .. ':text', job .. ':reasoning')
  listed_until = math.max(tonumber(listed_until or 0), until_then)
  redis.call('HSET', session, 'kept', int(listed_until))
  raise(session, keep_session)
  if any_unended() then
    raise(events, keep_log)
    raise(jobs, int(listed_until - now))
  else
    redis.call('PEXPIRE', events, keep_log)
    redis.call('PEXPIREAT', jobs, int(listed_until))
  end
end

-- Ends a job that is not ended yet. The first write frees memory, so that a full Redis does not refuse it.
-- `by` is the fence of the claim that ends it, or an attempt; `result` holds any of response, error, text, reasoning;
-- `history` the messages to remember.
-- Returns the seq of its stream_end and, if that gave somebody the turn, the id and queue of that job.
local function end_job(jid, status, by, inner, result, history)
  local job = job_key(jid)
  local cancel, key, mode, created, started, first = unpack(
    redis.call('HMGET', job, 'cancel', 'key', 'mode', 'created', 'started', 'first'))
  strip(job)
  local seq = emit(jid, string.match(by, '^%d+'), inner)
  -- One field for all numbers: most of what an ended job costs is the fields of its hash.
  local done = {created, started or 0, int(now), seq, by, first or (seq - 1) .. ' 0'}
  redis.call('HSET', job, 'status', status, 'done', table.concat(done, ' '))
  for field, value in pairs(result) do
    if value ~= '' then redis.call('HSET', job, field, value) end
  end
  if (status == 'completed' or status == 'cancelled') and cancel ~= 'rollback' then remember(history) end
  list_end(jid, seq)
  local active, kept = unpack(redis.call('HMGET', session, 'active', 'kept'))
  keep(job, key, kept)
  local next_job, queue
  if active == jid then
    next_job, queue = hand_on()
  elseif mode ~= 'parallel' and redis.call('LREM', waiting, 1, jid) > 0 then
    tell_line(0)
  end
  if next_job then redis.call('HSET', job, 'next', next_job) end
  return seq, next_job, queue
end

-- Ends a job that no worker holds: claims it, which fixes its text, and composes the stream_end and what the session
-- remembers, both as a worker does.
local function end_unheld(jid, status, failure)
  local job = job_key(jid)
  local attempt, was, user = unpack(redis.call('HMGET', job, 'attempt', 'status', 'user'))
  attempt = tonumber(attempt or 0) + (was == 'running' and 1 or 0)
  local text = redis.call('GET', job .. ':text') or ''
  local reasoning = redis.call('GET', job .. ':reasoning') or ''
  local history = {}
  for message in string.gmatch(user or '', '[^\n]+') do history[#history + 1] = message end
  if text ~= '' then
    history[#history + 1] = '{"role":"assistant","content":' .. quote(text)
      .. ',"metadata":{"job_id":"' .. jid .. '","partial":true}}'
  end
  local inner = '"type":"stream_end","data":{"status":"' .. status .. '","error":' .. failure
    .. ',"text":' .. quote(text) .. (reasoning ~= '' and ',"reasoning":' .. quote(reasoning) or '')
    .. ',"finish_reason":"error"}'
  return end_job(jid, status, int(attempt), inner, {error = failure, text = text, reasoning = reasoning}, history)
end

local function is_held(job)
  local holder, lease = unpack(redis.call('HMGET', job, 'holder', 'lease'))
  return holder and tonumber(lease) > now
end

-- Asks the worker that holds the job to end it. A rollback outranks what was asked before.
local function ask(jid, mode)
  local job = job_key(jid)
  redis.call('HDEL', job, '_')
  if mode == 'rollback' then
    redis.call('HSET', job, 'cancel', mode)
  else
    redis.call('HSETNX', job, 'cancel', mode)
  end
  local attempt = redis.call('HGET', job, 'attempt')
  redis.call('PUBLISH', string.match(base, '^(.*):{') .. ':control', '{"type":"cancel","session_id":"' .. sid
    .. '","job_id":"' .. jid .. '","attempt":' .. attempt .. ',"mode":"' .. mode .. '"}')
end
