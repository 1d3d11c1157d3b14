-- shift: Redis's clock was set back, and what waits for a time of the old one comes so much earlier.
-- KEYS 1 palaver:due | palaver:gates | palaver:batches | palaver:sent:QUEUE | palaver:webhooks:{all}[:of:TENANT]
-- ARGV 1 ms
-- reply ok
-- Twice is harmless: a look that is early sets the right time. All entries at once, at 2 µs each, but once in years.
-- Begins with a write that is never refused for memory.
local registry, earlier_by = KEYS[1], tonumber(ARGV[1])
redis.call('EXPIRE', registry, 400 * 24 * 3600)
for _, entry in ipairs(redis.call('ZRANGE', registry, 0, -1)) do
  redis.call('ZINCRBY', registry, string.format('%d', -earlier_by), entry)
end
return {'ok'}
