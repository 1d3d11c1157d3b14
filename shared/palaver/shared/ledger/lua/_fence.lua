-- The checks of every script that a worker calls on its job: `verdict` is what to reply instead, or nil.
-- Needs: job, attempt.
local fence = redis.call('HMGET', job, 'status', 'holder', 'attempt', 'cancel')
local cancel = fence[4] or ''
local verdict
if not fence[1] then
  verdict = {'gone'}
elseif fence[1] ~= 'running' and fence[1] ~= 'queued' then
  verdict = {'ended', fence[1]}
elseif fence[2] ~= attempt then
  verdict = {'fenced'}
end
