-- What a repeated end is told: the id and queue of the job that got the turn from it, while that still waits for a
-- worker, and when the first end was, in ms of Redis time. Needs: base.
local function past_end(job)
  local jid, done = unpack(redis.call('HMGET', job, 'next', 'done'))
  local ended = tonumber(string.match(done, '^%d+ %d+ (%d+)'))
  if jid and redis.call('HGET', base .. ':job:' .. jid, 'status') == 'queued' then return jid, 'palaver.resume', ended end
  return '', '', ended
end

-- What a job has spent, as its workers noted it, and the gate at which it has waited, '' if it has not.
local function left_by(job)
  local spent, gate = unpack(redis.call('HMGET', job, 'spent', 'gate'))
  return spent or '', gate or ''
end
