-- ARGV 3 to 7 of every script that submits or ends jobs: entries of the log · milliseconds that an ended job (or batch),
-- a log after its last event, and a session are kept · messages and bytes of the history, with a space between.
local maxlen, keep_job, keep_log, keep_session, history_bounds = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
