-- canary_take: a worker was given a queue's canary. An old one, or the same again, changes nothing.
-- KEYS 1 palaver:canaries
-- ARGV 1 queue · 2 when it was sent, ms of Redis time
-- reply ok
-- include clock
local canaries, queue, sent = KEYS[1], ARGV[1], tonumber(ARGV[2])
redis.call('HDEL', canaries, '_')
local last, taken = unpack(redis.call('HMGET', canaries, queue .. ' sent', queue .. ' taken'))
if tonumber(last or 0) == sent and tonumber(taken or 0) < sent then
  redis.call('HSET', canaries, queue .. ' taken', int(math.max(now, sent)), queue .. ' wait', int(math.max(0, now - sent)))
end
return {'ok'}
