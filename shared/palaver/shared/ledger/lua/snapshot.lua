-- snapshot: a session and some of its jobs, all of one moment. Reads only.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:session hash · {SID}:waiting list · {SID}:jobs zset · {SID}:job:JID hash, :text, :reasoning
-- ARGV 1 '1' with documents · 2 a seq: also the unended jobs, and the ids of those that ended after it; '': neither
--      3… job ids
-- reply ms of Redis time, seq, active job, waiting jobs, jobs as {id, field, value, … "text", …, "reasoning", …},
--       ids of jobs that ended after ARGV 2, '1' if the session may have had more of them
local base, with_documents, after = KEYS[1], ARGV[1] == '1', ARGV[2]
local FIRST_JOB = 3
-- include clock
local seq, active, forgotten = unpack(redis.call('HMGET', base .. ':session', 'seq', 'active', 'forgotten'))
local line = redis.call('LRANGE', base .. ':waiting', 0, -1)
local wanted, asked = {}, {}
local function want(jid)
  if not asked[jid] then wanted[#wanted + 1] = jid end
  asked[jid] = true
end
for i = FIRST_JOB, #ARGV do want(ARGV[i]) end
local ended, more = {}, ''
if after ~= '' then
  local list = base .. ':jobs'
  for _, jid in ipairs(redis.call('ZRANGEBYSCORE', list, '+inf', '+inf')) do want(jid) end
  ended = redis.call('ZRANGEBYSCORE', list, '(' .. after, '(+inf')
  if tonumber(forgotten or 0) > tonumber(after) or redis.call('EXISTS', list) == 0 then more = '1' end
end
local FIELDS = {'status', 'attempt', 'failures', 'created', 'started', 'done', 'deadline', 'first', 'model', 'response',
  'error', 'parked', 'resume', 'mode', 'lease', 'worker', 'gate', 'hook', 'queue', 'sent', 'text', 'reasoning'}
if with_documents then FIELDS[#FIELDS + 1] = 'doc' end
local jobs = {}
for _, jid in ipairs(wanted) do
  local job = base .. ':job:' .. jid
  local values = redis.call('HMGET', job, unpack(FIELDS))
  if values[1] then
    local found = {jid}
    for i, name in ipairs(FIELDS) do
      local value = values[i]
      -- While a job runs, its text is kept beside it.
      if not value and (name == 'text' or name == 'reasoning') then value = redis.call('GET', job .. ':' .. name) end
      if value then
        found[#found + 1] = name
        found[#found + 1] = value
      end
    end
    jobs[#jobs + 1] = found
  end
end
return {now, tonumber(seq or 0), active or '', line, jobs, ended, more}
