-- Tells the last id given out, through the subscription: whoever sees the probe has been sent every
-- announcement up to that id before it.
--
-- ARGV: 1 and 2 the floor (start date and counter of the last id the caller has seen; 0 0: none),
-- 3 the probe channel, 4 the probe, 5 the log entry up to which the log may be trimmed, 6 seconds the
-- log lives. The probe is published followed by ':', start date, '-', counter.
-- Answers why Redis takes no writes, if it does not.
local call = redis.call
-- First: of a full Redis only the first write of a script is told.
local written = redis.pcall('SET', 'bxpush:alive', '1', 'EX', '60')
local floor_start, floor_counter = tonumber(ARGV[1]), tonumber(ARGV[2])
local start = tonumber(call('GET', 'server:startdate') or '0')
local counter = tonumber(call('GET', 'server:messagecounter') or '0')
if start < floor_start or (start == floor_start and counter < floor_counter) then
    -- Redis came back empty or with an older state: ids go on above what was seen, by far, since
    -- somebody else may have seen more (publish.lua does the same).
    if start < floor_start then
        start = floor_start
        call('SET', 'server:startdate', string.format('%.0f', start))
    end
    if counter < floor_counter then
        local time = call('TIME')
        local elapsed = (time[1] - floor_start) * 1000000 + time[2]
        counter = math.max(floor_counter + 1000000, elapsed)
        call('SET', 'server:messagecounter', string.format('%.0f', counter))
    end
end
local position = string.format('%.0f-%.0f', start, counter)
call('PUBLISH', ARGV[3], ARGV[4] .. ':' .. position)
-- A Redis that cannot be written to can still be listened to.
redis.pcall('XTRIM', 'bxpush:log', 'MINID', '~', ARGV[5])
redis.pcall('EXPIRE', 'bxpush:log', ARGV[6])
return type(written) == 'table' and written.err or false
