-- A session's turn: `active` in the session's hash is the job that has it, `waiting` is the line behind it.
-- Needs: base, clock, log, jobs.
local waiting = base .. ':waiting'
local RESUME = 'palaver.resume'
-- A change of the line is told to so many of its first jobs, so that a long line costs each change a fixed amount.
local TOLD = 20

-- The job's message goes to this queue now: it arrives there no earlier than `sent`.
local function note_sent(jid, queue)
  redis.call('HSET', job_key(jid), 'sent', int(now), 'queue', queue)
  redis.call('HDEL', job_key(jid), 'resends')
end

local function is_live(jid)
  local status = redis.call('HGET', job_key(jid), 'status')
  return status == 'queued' or status == 'running'
end

local function tell(jid, position)
  return emit(jid, 0, '"type":"job_queued","data":{"position":' .. position .. '}')
end

-- Tells the line from its (from + 1)th job on how many jobs are ahead of each now.
local function tell_line(from)
  for i, jid in ipairs(redis.call('LRANGE', waiting, from, TOLD - 1)) do
    if is_live(jid) then tell(jid, from + i) end
  end
end

-- Takes a job that vanished out of the line. A turn that it had is given on by whoever repairs.
local function leave(jid)
  if redis.call('HGET', session, 'active') == jid then redis.call('HDEL', session, 'active') end
  if redis.call('LREM', waiting, 0, jid) > 0 then tell_line(0) end
end

-- Gives the turn to the first job of the line that can take it. Returns its id and queue, or nothing.
local function hand_on()
  while true do
    local jid = redis.call('LPOP', waiting)
    if not jid then
      redis.call('HDEL', session, 'active')
      return nil
    end
    local status = redis.call('HGET', job_key(jid), 'status')
    if status == 'queued' then
      redis.call('HSET', session, 'active', jid)
      note_sent(jid, RESUME)
      tell(jid, 0)
      tell_line(0)
      return jid, RESUME
    end
    if not status then unlist(jid) end
  end
end

-- Takes the turn away from a job that has ended or vanished. Returns like hand_on, only if it handed on.
local function repair()
  local active = redis.call('HGET', session, 'active')
  if active then
    local status = redis.call('HGET', job_key(active), 'status')
    if status == 'queued' or status == 'running' then return nil end
    if not status then unlist(active) end
  elseif redis.call('EXISTS', waiting) == 0 then
    return nil
  end
  return hand_on()
end
