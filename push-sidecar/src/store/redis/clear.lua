-- Takes online marks away, but for those that somebody else has set (see mark.lua).
--
-- KEYS: the marks.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, key in ipairs(KEYS) do
    local left = call('PTTL', key)
    if left == -1 or left >= 0 and (now + left + 5) % 1000 <= 10 then call('DEL', key) end
end
return #KEYS
