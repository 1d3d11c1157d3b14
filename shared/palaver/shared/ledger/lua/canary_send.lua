-- canary_send: which broker queues want a canary now: a message that says how long its queue makes one wait. There is one
-- in a queue at a time; one that is in no queue and was taken by nobody is lost, and sent again.
-- KEYS 1 palaver:canaries hash: `QUEUE sent`, `QUEUE taken`, `QUEUE wait` in ms
-- ARGV 1 ms from one canary to the next · 2 ms after which one that is in no queue is lost
--      3, 4 … queue, '1': it held no message at some time since the last look
-- reply ok, ms of Redis time, queue, …
-- A repeat wants none: those of the first call are found lost, and sent again.
-- include clock
local canaries, period, lost = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('HDEL', canaries, '_')
local wanted = {'ok', now}
for i = 3, #ARGV, 2 do
  local queue, empty = ARGV[i], ARGV[i + 1] == '1'
  local sent, taken = unpack(redis.call('HMGET', canaries, queue .. ' sent', queue .. ' taken'))
  sent, taken = tonumber(sent or 0), tonumber(taken or 0)
  local ago = now - sent
  -- The clock was set back.
  if ago < 0 then ago = period end
  local waits = sent > taken
  if waits and empty and ago >= lost or not waits and ago >= period then
    redis.call('HSET', canaries, queue .. ' sent', int(now))
    wanted[#wanted + 1] = queue
  end
end
redis.call('PEXPIRE', canaries, int(math.max(3600000, 10 * period)))
return wanted
