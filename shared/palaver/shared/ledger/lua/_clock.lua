-- Redis's own time. `now` in milliseconds for fields and comparisons, `stamp` in seconds for events.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local stamp = clock[1] .. string.format('.%06d', tonumber(clock[2]))

-- Lua prints large numbers as 1.8e+12; Redis and JSON must get all digits.
local function int(number)
  return string.format('%d', number)
end
