-- snapshot: a session and some of its jobs, all of one moment. Reads only.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:session hash · {SID}:waiting list · {SID}:job:JID hash, :text, :reasoning
-- ARGV 1 '1' with documents · 2… job ids; none: the job that has the turn, and the line
-- reply ms of Redis time, seq, active job, waiting jobs, jobs as {id, field, value, … "text", …, "reasoning", …}
local base = KEYS[1]
-- include clock
local about = redis.call('HMGET', base .. ':session', 'seq', 'active')
local line = redis.call('LRANGE', base .. ':waiting', 0, -1)
local wanted = {}
for i = 2, #ARGV do wanted[#wanted + 1] = ARGV[i] end
if #wanted == 0 then
  if about[2] then wanted[1] = about[2] end
  for _, jid in ipairs(line) do wanted[#wanted + 1] = jid end
end
local FIELDS = {'status', 'attempt', 'failures', 'created', 'started', 'done', 'deadline', 'first', 'model', 'response', 'error', 'parked', 'resume', 'mode', 'lease', 'worker', 'text', 'reasoning'}
if ARGV[1] == '1' then FIELDS[#FIELDS + 1] = 'doc' end
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
return {now, tonumber(about[1] or 0), about[2] or '', line, jobs}
