-- append: a worker adds events to its job's log. The hot path.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:job:JID hash · {SID}:session hash · {SID}:events stream · {SID} channel · …:job:JID:text, :reasoning
-- ARGV 1 session id · 2 job id · 3 fence · 4 entries that the log keeps
--      5 producer sequence of the first event (1 in each attempt) · 6 '1': empty text and reasoning first
--      7 text of this batch · 8 reasoning of this batch
--      9… events: JSON of "type" and "data" without braces
-- reply ok, cancel flag ('' for none), last sequence taken | gone | ended, status | fenced | gap, last sequence taken
local base, sid, jid, fence, maxlen = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local first, resets, text, reasoning = tonumber(ARGV[5]), ARGV[6] == '1', ARGV[7], ARGV[8]
local FIRST_EVENT = 9
local job = base .. ':job:' .. jid
local status, holder, taken, cancel = unpack(redis.call('HMGET', job, 'status', 'holder', 'pseq', 'cancel'))
if not status then return {'gone'} end
if status ~= 'running' then
  if status == 'queued' then return {'fenced'} end
  return {'ended', status}
end
if holder ~= fence then return {'fenced'} end
taken, cancel = tonumber(taken), cancel or ''
local last = first + #ARGV - FIRST_EVENT
if last <= taken then return {'ok', cancel, taken} end
if first ~= taken + 1 then return {'gap', taken} end

local clock = redis.call('TIME')
local stamp = clock[1] .. string.format('.%06d', tonumber(clock[2]))
-- include log
local seq = tonumber(redis.call('HGET', session, 'seq') or 0)
local heading = head(jid, string.match(fence, '^%d+'))
for i = FIRST_EVENT, #ARGV do seq = write(seq + 1, heading, ARGV[i]) end
if redis.call('HSET', session, 'seq', seq) == 1 then redis.call('PEXPIRE', session, redis.call('PTTL', job)) end
redis.call('HSET', job, 'pseq', last)
if resets then redis.call('DEL', job .. ':text', job .. ':reasoning') end

-- A string that this write has just made gets its job's time to live.
local function extend(key, piece)
  if piece ~= '' and redis.call('APPEND', key, piece) == #piece then
    redis.call('PEXPIRE', key, redis.call('PTTL', job))
  end
end
extend(job .. ':text', text)
extend(job .. ':reasoning', reasoning)
return {'ok', cancel, last}
