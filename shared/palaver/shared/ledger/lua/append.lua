-- append: a worker adds events to its job's log. The hot path.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:job:JID hash · {SID}:session hash · {SID}:events stream · {SID} channel · …:job:JID:text, :reasoning
-- ARGV 1 session id · 2 job id · 3 fence · 4 entries that the log keeps
--      5 producer sequence of the first event (1 in each attempt) · 6 '1': empty text and reasoning first
--      7 text of this batch · 8 reasoning of this batch
--      9… events: JSON of "type" and "data" without braces
-- reply ok, cancel flag ('' for none), last sequence taken | gone | ended, status | fenced | gap, last sequence taken
local base, sid, jid, maxlen = KEYS[1], ARGV[1], ARGV[2], ARGV[4]
local job = base .. ':job:' .. jid
local state = redis.call('HMGET', job, 'status', 'holder', 'pseq', 'cancel')
if not state[1] then return {'gone'} end
if state[1] ~= 'running' then
  if state[1] == 'queued' then return {'fenced'} end
  return {'ended', state[1]}
end
if state[2] ~= ARGV[3] then return {'fenced'} end
local taken, first = tonumber(state[3]), tonumber(ARGV[5])
local last = first + #ARGV - 9
if last <= taken then return {'ok', state[4] or '', taken} end
if first ~= taken + 1 then return {'gap', taken} end

local clock = redis.call('TIME')
local stamp = clock[1] .. string.format('.%06d', tonumber(clock[2]))
-- include log
local seq = tonumber(redis.call('HGET', session, 'seq') or 0)
local heading = head(jid, string.match(ARGV[3], '^%d+'))
for i = 9, #ARGV do seq = write(seq + 1, heading, ARGV[i]) end
if redis.call('HSET', session, 'seq', seq) == 1 then redis.call('PEXPIRE', session, redis.call('PTTL', job)) end
redis.call('HSET', job, 'pseq', last)
if ARGV[6] == '1' then redis.call('DEL', job .. ':text', job .. ':reasoning') end

-- A string that this write has just made gets its job's time to live.
local function extend(key, text)
  if text ~= '' and redis.call('APPEND', key, text) == #text then
    redis.call('PEXPIRE', key, redis.call('PTTL', job))
  end
end
extend(job .. ':text', ARGV[7])
extend(job .. ':reasoning', ARGV[8])
return {'ok', state[4] or '', last}
