-- What a repeated end is told: the id and queue of the job that got the turn from it, while that still waits for a
-- worker, and when the first end was, in ms of Redis time. Needs: base.
local function past_end(job)
  local jid, done = unpack(redis.call('HMGET', job, 'next', 'done'))
  local ended = tonumber(string.match(done, '^%d+ %d+ (%d+)'))
  if jid and redis.call('HGET', base .. ':job:' .. jid, 'status') == 'queued' then return jid, 'palaver.resume', ended end
  return '', '', ended
end

-- The list of unended jobs that has the job, '' if none has.
local function counts_in(job)
  return redis.call('HGET', job, 'counts') or ''
end

-- What a job has spent, as its workers noted it; the gate at which it has waited; the list of unended jobs that has it:
-- '' where there is none.
local function left_by(job)
  local spent, gate = unpack(redis.call('HMGET', job, 'spent', 'gate'))
  return spent or '', gate or '', counts_in(job)
end
