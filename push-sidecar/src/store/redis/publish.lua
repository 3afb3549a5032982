-- Stores and announces any number of publishes in one atomic step.
--
-- ARGV: 1 now (Unix seconds), 2 and 3 the floor (start date and counter of the last id the caller
-- has seen; 0 0: none), 4 seconds a list lives, 5 the announcement channel, 6 seconds tokens and the
-- log live, 7 the log entry up to which the log may be trimmed, 8 the announcement prefix of a message
-- to nobody;
-- then per publish: its token, its number of messages,
-- and per message: expiry, receivers (17 bytes each: kind, id), announcement prefix, rest.
-- Answers per publish: the first of its consecutive ids (13 bytes), or '-' and an error.
local call, char, floor, sub = redis.call, string.char, math.floor, string.sub
local floor_start, floor_counter = tonumber(ARGV[2]), tonumber(ARGV[3])
local list_ttl, channel, keep = tonumber(ARGV[4]), ARGV[5], ARGV[6]

-- Ids move this far when the counter has gone back, so that they also lie above those that
-- somebody else has seen.
local LEAP = 1000000

-- 8 decimal digits as 4 bytes.
local function bcd(n)
    local a, b = floor(n / 1000000), floor(n / 10000) % 100
    local c, d = floor(n / 100) % 100, n % 100
    return char(a + 6 * floor(a / 10), b + 6 * floor(b / 10), c + 6 * floor(c / 10), d + 6 * floor(d / 10))
end

-- Takes some members out of a long list whose messages have expired.
local function trim(list)
    if call('ZCARD', list) < 200 then return end
    local dead = {}
    for _, mid in ipairs(call('ZRANDMEMBER', list, 64)) do
        if call('EXISTS', 'message:' .. mid) == 0 then dead[#dead + 1] = mid end
    end
    if #dead > 0 then call('ZREM', list, unpack(dead)) end
end

local replies, fresh, first_of, repeats, total = {}, {}, {}, {}, 0
local at, n = 9, 0
while at <= #ARGV do
    local token, count = ARGV[at], tonumber(ARGV[at + 1])
    n = n + 1
    local known = call('GET', 'bxpush:token:' .. token)
    if known then
        replies[n] = known
    elseif first_of[token] then
        repeats[n] = first_of[token]
        replies[n] = ''
    else
        first_of[token] = n
        fresh[#fresh + 1] = {n, token, count, at + 2}
        replies[n] = ''
        total = total + count
    end
    at = at + 2 + count * 4
end
if total == 0 then return replies end

local counter = call('INCRBY', 'server:messagecounter', total) - total
local start = tonumber(call('GET', 'server:startdate') or '0')
if start == 0 or start < floor_start then
    -- Redis came back empty. Processes that remember the start date for life go on with it too.
    start = floor_start > 0 and floor_start or tonumber(ARGV[1])
    call('SET', 'server:startdate', string.format('%.0f', start))
end
if start == floor_start and counter < floor_counter then
    counter = floor_counter + LEAP
    call('SET', 'server:messagecounter', string.format('%.0f', counter + total))
end
local start_digits = string.format('%.0f', start)
local start_bytes = bcd(floor(start / 100)) .. sub(bcd(start % 100), 4)

local function mid_of(mid_counter)
    return start_bytes .. bcd(floor(mid_counter / 100000000)) .. bcd(mid_counter % 100000000)
end

-- Puts a message into the queues of its receivers. `arg`: where its arguments begin.
local function store(mid_counter, arg)
    local expiry, receivers = tonumber(ARGV[arg]), ARGV[arg + 1]
    if expiry == 0 then return end
    local mid = mid_of(mid_counter)
    call('SETEX', 'message:' .. mid, expiry, '\10\13' .. mid .. ARGV[arg + 3])
    local ttl = expiry > list_ttl and expiry or list_ttl
    for i = 1, #receivers, 17 do
        local list = sub(receivers, i + 1, i + 16)
        if sub(receivers, i, i) == '\1' then
            list = 'channel:messages:' .. list
        else
            list = 'pubchannel:messages:' .. list
        end
        call('ZADD', list, 0, mid)
        if call('TTL', list) < ttl then call('EXPIRE', list, ttl) end
        -- Now and then, whatever the channel's share of the ids.
        if (mid_counter % 1009) * 7919 % 1009 < 64 then trim(list) end
    end
end

local function announce(mid_counter, arg)
    local outgoing = mid_of(mid_counter) .. ARGV[arg + 3]
    local entry = start_digits .. '-' .. string.format('%.0f', mid_counter)
    local logged = {'XADD', 'bxpush:log', entry, 'r', ARGV[arg + 1]}
    if ARGV[arg] == '0' then
        logged[6], logged[7] = 'o', '\10\13' .. outgoing
    end
    local answer = redis.pcall(unpack(logged))
    if type(answer) == 'table' and answer.err then
        -- The log knows higher ids: it is of another time.
        redis.pcall('DEL', 'bxpush:log')
        redis.pcall(unpack(logged))
    end
    call('PUBLISH', channel, ARGV[arg + 2] .. outgoing)
end

for _, publish in ipairs(fresh) do
    local index, token, count, arg = publish[1], publish[2], publish[3], publish[4]
    local ok, problem = pcall(function()
        for i = 1, count do store(counter + i, arg + (i - 1) * 4) end
    end)
    if ok then
        for i = 1, count do announce(counter + i, arg + (i - 1) * 4) end
        replies[index] = mid_of(counter + 1)
        call('SET', 'bxpush:token:' .. token, replies[index], 'EX', keep)
    else
        -- All or nothing; and nobody shall wait for the ids.
        for i = 1, count do
            call('DEL', 'message:' .. mid_of(counter + i))
            call('PUBLISH', channel, ARGV[8] .. mid_of(counter + i))
        end
        replies[index] = '-' .. (type(problem) == 'table' and problem.err or tostring(problem))
    end
    counter = counter + count
end
for index, original in pairs(repeats) do replies[index] = replies[original] end
-- What was stored is stored, whatever becomes of the tidying.
redis.pcall('XTRIM', 'bxpush:log', 'MINID', '~', ARGV[7])
redis.pcall('EXPIRE', 'bxpush:log', keep)
return replies
