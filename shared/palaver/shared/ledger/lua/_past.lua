-- What a repeated end is told: the id and queue of the job that got the turn from it, while that still waits for a
-- worker, and when the first end was, in ms of Redis time. Needs: base.
local function past_end(job)
  local jid, done = unpack(redis.call('HMGET', job, 'next', 'done'))
  local ended = tonumber(string.match(done, '^%d+ %d+ (%d+)'))
  if jid and redis.call('HGET', base .. ':job:' .. jid, 'status') == 'queued' then return jid, 'palaver.resume', ended end
  return '', '', ended
end

-- What a job has spent, as its workers noted it.
local function spent_by(job)
  return redis.call('HGET', job, 'spent') or ''
end
