-- The session's list of its jobs, for readers whose log is gone: at infinity until it ends, then at the seq of its
-- stream_end. Of those that ended it holds the last; what it no longer knows lies at or below `forgotten`, and is in
-- `ended` until its keys go, for who erases the session. Needs: base, clock, ttl.
local jobs, ended_jobs = base .. ':jobs', base .. ':ended'
local LISTED = 100

local function job_key(jid)
  return base .. ':job:' .. jid
end

-- Whether it is new to the list.
local function list(jid, score)
  if redis.call('EXISTS', jobs) == 0 then
    local seq = redis.call('HGET', base .. ':session', 'seq')
    if seq and seq ~= '0' then redis.call('HSET', base .. ':session', 'forgotten', seq) end
  end
  return redis.call('ZADD', jobs, score, jid) == 1
end

-- Of a job that vanished before its end nothing can be told.
local function unlist(jid)
  if tonumber(redis.call('ZSCORE', jobs, jid) or 0) == math.huge then redis.call('ZREM', jobs, jid) end
end

local function any_unended()
  return redis.call('ZCOUNT', jobs, '+inf', '+inf') > 0
end

local function leave_list(jid)
  local left = redis.call('PTTL', job_key(jid))
  if left > 0 then
    redis.call('ZREMRANGEBYSCORE', ended_jobs, '-inf', int(now))
    redis.call('ZADD', ended_jobs, int(now + left), jid)
    raise(ended_jobs, left)
  end
  redis.call('ZREM', jobs, jid)
end

-- One comes, so up to two go: those whose keys are gone, and what is too much.
local function list_end(jid, seq)
  list(jid, seq)
  local excess = redis.call('ZCOUNT', jobs, '-inf', '(+inf') - LISTED
  local oldest = redis.call('ZRANGEBYSCORE', jobs, '-inf', '(+inf', 'WITHSCORES', 'LIMIT', 0, 2)
  for i = 1, #oldest, 2 do
    if excess > 0 or redis.call('EXISTS', job_key(oldest[i])) == 0 then
      excess = excess - 1
      leave_list(oldest[i])
      redis.call('HSET', base .. ':session', 'forgotten', oldest[i + 1])
    end
  end
end
