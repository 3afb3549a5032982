-- Stores and announces any number of publishes in one atomic step.
--
-- ARGV: 1 now (Unix seconds), 2 and 3 the floor (start date and counter of the last id the caller
-- has seen; 0 0: none), 4 seconds a list lives, 5 the announcement channel, 6 seconds tokens live,
-- 7 the announcement prefix of a message to nobody;
-- then per publish: its token, its number of messages,
-- and per message: expiry, receivers (17 bytes each: kind, id), announcement prefix, rest.
-- Answers per publish: the first of its consecutive ids (13 bytes), or '-' and an error.
--
-- Most of its time goes into calls: each that is not made counts.
local call, char, floor, sub, format = redis.call, string.char, math.floor, string.sub, string.format
local floor_start, floor_counter = tonumber(ARGV[2]), tonumber(ARGV[3])
local list_ttl, channel, keep = tonumber(ARGV[4]), ARGV[5], ARGV[6]

-- Where the counter goes on when it has gone back: far above what the caller has seen, so that ids
-- also lie above those that somebody else has, and not below the microseconds since the start date,
-- so that they do even if Redis loses them again before everybody has learned of the first time
-- (position.lua does the same).
local function leap()
    local time = call('TIME')
    local elapsed = (time[1] - floor_start) * 1000000 + time[2]
    return math.max(floor_counter + 1000000, elapsed)
end
-- Where the publishes begin.
local FIRST = 8

local total, at, size = 0, FIRST, #ARGV
while at <= size do
    local count = tonumber(ARGV[at + 1])
    total, at = total + count, at + 2 + count * 4
end
local counter = call('INCRBY', 'server:messagecounter', total) - total
local start = tonumber(call('GET', 'server:startdate') or '0')
if start == 0 or start < floor_start then
    -- Redis came back empty. Processes that remember the start date for life go on with it too.
    start = floor_start > 0 and floor_start or tonumber(ARGV[1])
    call('SET', 'server:startdate', format('%.0f', start))
end
if start == floor_start and counter < floor_counter then
    counter = leap()
    call('SET', 'server:messagecounter', format('%.0f', counter + total))
end
local before = counter

-- 8 decimal digits as 4 bytes.
local function bcd(n)
    local a, b = floor(n / 1000000), floor(n / 10000) % 100
    local c, d = floor(n / 100) % 100, n % 100
    return char(a + 6 * floor(a / 10), b + 6 * floor(b / 10), c + 6 * floor(c / 10), d + 6 * floor(d / 10))
end

local start_digits = format('%.0f-', start)
local start_bytes = bcd(floor(start / 100)) .. sub(bcd(start % 100), 4)

local function mid_of(mid_counter)
    return start_bytes .. bcd(floor(mid_counter / 100000000)) .. bcd(mid_counter % 100000000)
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

-- Puts a message into the queues of its receivers. `arg`: where its arguments begin.
local function store(mid_counter, mid, outgoing, arg)
    local expiry, receivers = tonumber(ARGV[arg]), ARGV[arg + 1]
    call('SETEX', 'message:' .. mid, ARGV[arg], outgoing)
    local ttl = expiry > list_ttl and expiry or list_ttl
    for i = 1, #receivers, 17 do
        local list = sub(receivers, i + 1, i + 16)
        if sub(receivers, i, i) == '\1' then
            list = 'channel:messages:' .. list
        else
            list = 'pubchannel:messages:' .. list
        end
        call('ZADD', list, '0', mid)
        if call('TTL', list) < ttl then call('EXPIRE', list, format('%.0f', ttl)) end
        -- Now and then, whatever the channel's share of the ids.
        if (mid_counter % 1009) * 7919 % 1009 < 64 then trim(list) end
    end
end

local function log(entry, arg, outgoing)
    if ARGV[arg] == '0' then
        return redis.pcall('XADD', 'bxpush:log', entry, 'r', ARGV[arg + 1], 'o', outgoing)
    end
    return redis.pcall('XADD', 'bxpush:log', entry, 'r', ARGV[arg + 1])
end

-- Tells everybody of a message, now and for a while.
local function announce(mid_counter, mid, outgoing, arg)
    local entry = start_digits .. format('%.0f', mid_counter)
    local answer = log(entry, arg, outgoing)
    if type(answer) == 'table' and answer.err then
        -- The log knows higher ids: it is of another time.
        redis.pcall('DEL', 'bxpush:log')
        log(entry, arg, outgoing)
    end
    call('PUBLISH', channel, ARGV[arg + 2] .. mid .. ARGV[arg + 3])
end

-- Messages of a publish, the first with id `first`. All are stored before one is announced.
local function publish(first, count, arg)
    if count == 1 then
        local mid = mid_of(first)
        local outgoing = '\10\13' .. mid .. ARGV[arg + 3]
        if ARGV[arg] ~= '0' then store(first, mid, outgoing, arg) end
        return announce(first, mid, outgoing, arg)
    end
    local mids, outgoings = {}, {}
    for i = 1, count do
        local at = arg + (i - 1) * 4
        mids[i] = mid_of(first + i - 1)
        outgoings[i] = '\10\13' .. mids[i] .. ARGV[at + 3]
        if ARGV[at] ~= '0' then store(first + i - 1, mids[i], outgoings[i], at) end
    end
    for i = 1, count do announce(first + i - 1, mids[i], outgoings[i], arg + (i - 1) * 4) end
end

local replies, n = {}, 0
at = FIRST
while at <= size do
    local token, count = 'bxpush:token:' .. ARGV[at], tonumber(ARGV[at + 1])
    local first = mid_of(counter + 1)
    n = n + 1
    if call('SET', token, first, 'NX', 'EX', keep) then
        local ok, problem = pcall(publish, counter + 1, count, at + 2)
        replies[n] = first
        if not ok then
            -- All or nothing; and nobody shall wait for the ids.
            call('DEL', token)
            for i = 1, count do
                call('DEL', 'message:' .. mid_of(counter + i))
                call('PUBLISH', channel, ARGV[7] .. mid_of(counter + i))
            end
            replies[n] = '-' .. (type(problem) == 'table' and problem.err or tostring(problem))
        end
        counter = counter + count
    else
        -- Stored before.
        replies[n] = call('GET', token)
    end
    at = at + 2 + count * 4
end
-- Ids that stored publishes did not need are given out next.
if counter < before + total then
    call('SET', 'server:messagecounter', format('%.0f', counter))
end
return replies
