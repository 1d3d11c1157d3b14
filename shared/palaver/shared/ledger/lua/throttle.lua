-- throttle: takes one of so many requests a minute, if there is one; a bucket that fills evenly.
-- KEYS 1 palaver:throttle:KEY
-- ARGV 1 µs of a request's share of the minute · 2 requests that may come at once · 3 token of this request
-- reply µs to wait: 0, it was taken
-- The key holds when the bucket will be full again (µs), and the last request's token: its repeat takes none.
-- include clock
local bucket, share, most, token = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local micros = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local full, last = string.match(redis.call('GET', bucket) or '', '^(%d+) (.*)$')
if last == token then return 0 end
full = math.max(tonumber(full or 0), micros)
local wait = full + share - micros - share * most
if wait > share then full, wait = micros, share - share * most end -- Redis's clock went back
if wait > 0 then return wait end
full = full + share
redis.call('SET', bucket, int(full) .. ' ' .. token, 'PX', int(math.ceil((full - micros) / 1000) + 1000))
return 0
