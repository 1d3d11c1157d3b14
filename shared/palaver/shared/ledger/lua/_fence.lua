-- The checks of every script that a worker calls on its job: `verdict` is what to reply instead, or nil. A fence is
-- ATTEMPT:TOKEN of a claim: after a failover another claim may have the same number.
-- Needs: job, fence.
local attempt = string.match(fence, '^%d+')
local status, holder, cancel = unpack(redis.call('HMGET', job, 'status', 'holder', 'cancel'))
cancel = cancel or ''
local verdict
if not status then
  verdict = {'gone'}
elseif status ~= 'running' and status ~= 'queued' then
  verdict = {'ended', status}
elseif holder ~= fence then
  verdict = {'fenced'}
end
