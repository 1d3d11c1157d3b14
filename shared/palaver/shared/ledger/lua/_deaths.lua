-- Progress of an attempt ends the row of deaths before it, however the attempt itself ends.
-- The first event of an attempt only says that it began; anything more is progress.
local function forget_deaths(job, taken)
  if tonumber(taken or 0) > 1 then redis.call('HDEL', job, 'deaths') end
end
