-- sweep: takes the sweepers' turn for one period, and notes the last time that no sweeper reached Redis for a while.
-- KEYS 1 palaver:sweep hash: `last` call of any sweeper, `until` when nobody else sweeps, `stopped` and `resumed`: the
--        calls before and after the last long silence, `behind`: so far has the clock gone back since a sweeper saw to
--        it, `done`: the last sweep that was completed; all in ms of Redis time
-- ARGV 1 period in ms · 2 '1': goes on with the turn that the caller has just had
--      3 ms of Redis time of the last sweep that the caller has completed (0: none yet)
-- reply ok, ms of Redis time, stopped, resumed, behind | busy
-- include clock
-- Less than STEP is not seen to: everything is done that much later, once.
local SILENCE, STEP = 3000, 1000
local period, again = tonumber(ARGV[1]), ARGV[2] == '1'
local sweep = KEYS[1]

local function noted(name)
  return tonumber(redis.call('HGET', sweep, name) or 0)
end
local last, taken = noted('last'), noted('until')
local stopped, resumed, behind = noted('stopped'), noted('resumed'), noted('behind')

redis.call('HDEL', sweep, '_')
local completed = math.min(tonumber(ARGV[3]), now)
if completed > noted('done') or noted('done') > now then redis.call('HSET', sweep, 'done', int(completed)) end
redis.call('HSET', sweep, 'last', int(now))
if last > now + STEP then
  behind, stopped, resumed = behind + last - now, now, now
  redis.call('HSET', sweep, 'behind', int(behind), 'stopped', int(now), 'resumed', int(now))
end
if now - last > SILENCE then
  stopped, resumed = last, now
  redis.call('HSET', sweep, 'stopped', int(stopped), 'resumed', int(resumed))
end
redis.call('PEXPIRE', sweep, 3600000)
if taken > now and taken <= now + period and not again then return {'busy'} end
redis.call('HSET', sweep, 'until', int(now + period))
return {'ok', now, stopped, resumed, behind}
