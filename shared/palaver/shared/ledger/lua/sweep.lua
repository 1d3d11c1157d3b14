-- sweep: takes the sweepers' turn for one period, and notes the last time that no sweeper reached Redis for a while.
-- KEYS 1 palaver:sweep hash: `last` call of any sweeper, `until` when nobody else sweeps, `stopped` and `resumed`: the
--        calls before and after the last long silence; all in ms of Redis time
-- ARGV 1 period in ms · 2 '1': goes on with the turn that the caller has just had
-- reply ok, ms of Redis time, stopped, resumed | busy
-- include clock
local SILENCE = 3000
local period, again = tonumber(ARGV[1]), ARGV[2] == '1'
local state = redis.call('HMGET', KEYS[1], 'last', 'until', 'stopped', 'resumed')
local last, taken = tonumber(state[1] or 0), tonumber(state[2] or 0)
local stopped, resumed = tonumber(state[3] or 0), tonumber(state[4] or 0)

redis.call('HDEL', KEYS[1], '_')
redis.call('HSET', KEYS[1], 'last', int(now))
if now - last > SILENCE then
  stopped, resumed = last, now
  redis.call('HSET', KEYS[1], 'stopped', int(stopped), 'resumed', int(resumed))
end
redis.call('PEXPIRE', KEYS[1], 3600000)
if taken > now and not again then return {'busy'} end
redis.call('HSET', KEYS[1], 'until', int(now + period))
return {'ok', now, stopped, resumed}
