-- A job enters its session's line. Needs: clock, log, jobs, turns, end.
-- Tells the job its position. Returns the id and queue of the job that has the turn by this and must be sent, and the id
-- of one that was ended for it.
local function enter(jid, mode, failure)
  local queue = redis.call('HGET', job_key(jid), 'queue')
  if mode == 'parallel' then
    note_sent(jid, queue)
    tell(jid, 0)
    return jid, queue
  end
  local handed, handed_queue = repair()
  local active = redis.call('HGET', session, 'active')
  if not active then
    redis.call('HSET', session, 'active', jid)
    note_sent(jid, queue)
    tell(jid, 0)
    return jid, queue
  end
  if mode ~= 'interrupt' and mode ~= 'rollback' then
    tell(jid, redis.call('RPUSH', waiting, jid))
    return handed, handed_queue
  end
  redis.call('LPUSH', waiting, jid)
  tell(jid, 1)
  tell_line(1)
  if is_held(job_key(active)) then
    ask(active, mode)
    return handed, handed_queue
  end
  if mode == 'rollback' then redis.call('HSET', job_key(active), 'cancel', mode) end
  local _, next_job, next_queue = end_unheld(active, 'cancelled', failure)
  return next_job, next_queue, active
end
