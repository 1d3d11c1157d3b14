-- For a repeated end: the id and queue of the job that got the turn from it, while that still waits for a worker.
-- Needs: base.
local function successor(job)
  local jid = redis.call('HGET', job, 'next')
  if jid and redis.call('HGET', base .. ':job:' .. jid, 'status') == 'queued' then return jid, 'palaver.resume' end
  return '', ''
end
