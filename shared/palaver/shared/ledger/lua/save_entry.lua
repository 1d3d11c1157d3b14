-- save_entry: a worker stores an entry of a job's journal (tool calls, a tool's result, a continue), and in the same
-- moment logs the events that tell of it: a takeover repeats neither.
-- KEYS 1 palaver:{SID}
-- keys used  {SID}:job:JID hash · {SID}:session hash · {SID}:events stream · {SID} channel
-- ARGV 1 session id · 2 job id · 3 fence · 4 entries that the log keeps · 5 number of the entry, from 1 · 6 the entry
--      7 what was spent so far, '' to leave it · 8… events: JSON of "type" and "data" without braces
-- reply ok, cancel flag, entries stored | gone | ended, status | fenced | gap, entries stored
local base, sid, jid, fence, maxlen = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local number, content, spent = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local FIRST_EVENT = 8
local job = base .. ':job:' .. jid
-- include fence
if verdict then return verdict end
-- include clock
-- include log
local stored = tonumber(redis.call('HGET', job, 'journal') or 0)
if number > stored + 1 then return {'gap', stored} end
if number == stored + 1 then
  redis.call('HSET', job, 'journal:' .. number, content, 'journal', number)
  if spent ~= '' then redis.call('HSET', job, 'spent', spent) end
  for i = FIRST_EVENT, #ARGV do emit(jid, attempt, ARGV[i]) end
  -- It is progress, whatever becomes of this worker.
  redis.call('HDEL', job, 'deaths')
  stored = number
end
return {'ok', cancel, stored}
