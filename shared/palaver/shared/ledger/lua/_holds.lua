-- Whether an announcement holds. One from the future was made before the clock was set back. Needs: clock.
local function holds(announcement)
  local expires, time = string.match(announcement, '^{"expires":(%d+),"time":(%d+)')
  return expires and tonumber(expires) > now and tonumber(time) * 1000 <= now + 1000
end
