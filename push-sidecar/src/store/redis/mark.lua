-- Sets online marks (PROTOCOL.md, section 12).
--
-- KEYS: the marks. ARGV: 1 seconds a mark lives, 2 milliseconds that somebody else's mark must have
-- left to be left as it is.
--
-- Ours end on a whole second, so that clear.lua can tell them from those of a reference process,
-- which set theirs for 130 s from some millisecond.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = string.format('%.0f', (time[1] + ARGV[1]) * 1000)
local enough = tonumber(ARGV[2])
for _, key in ipairs(KEYS) do
    local left = call('PTTL', key)
    -- The clock may move by a few milliseconds between TIME and PTTL.
    local ours = (now + left + 5) % 1000 <= 10
    if ours or left < enough then call('SET', key, '1', 'PXAT', ends) end
end
return #KEYS
