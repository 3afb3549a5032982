-- Stores and announces any number of publishes in one atomic step.
--
-- In front of this text stand, as locals: LIST_TTL, seconds a list lives at least; TOKEN_TTL, seconds
-- a token lives; NOBODY, the head of an announcement to nobody.
--
-- ARGV: 1 and 2 the floor (start date and counter of the last id the caller has seen; 0 0: none),
-- 3 the announcement channel;
-- then per publish: its token, its number of messages,
-- and per message: expiry, receivers (17 bytes each: kind, id), the announcement's head, and what it
-- is if nobody has been given an id since the floor: id, log entry, OutgoingMessage.
-- Answers per publish: the first of its consecutive ids (13 bytes), or '-' and an error.
--
-- Redis has one thread, and this is most of its time: what can be foretold comes with the
-- arguments, and each call that is not made counts.
local call, sub, floor, format = redis.call, string.sub, math.floor, string.format
local channel = ARGV[3]
-- Where the publishes begin, and how many arguments a message has.
local FIRST, WIDTH = 4, 6

local total, at, size = 0, FIRST, #ARGV
while at <= size do
    local count = tonumber(ARGV[at + 1])
    total, at = total + count, at + 2 + count * WIDTH
end
local counter = call('INCRBY', 'server:messagecounter', total) - total
local start = call('GET', 'server:startdate')

-- Answers a function that computes the id and the log entry of a counter.
local function ids()
    -- 8 decimal digits as 4 bytes.
    local function bcd(n)
        local a, b = floor(n / 1000000), floor(n / 10000) % 100
        local c, d = floor(n / 100) % 100, n % 100
        return string.char(
            a + 6 * floor(a / 10), b + 6 * floor(b / 10), c + 6 * floor(c / 10), d + 6 * floor(d / 10))
    end
    local digits = format('%.0f-', start)
    local bytes = bcd(floor(start / 100)) .. sub(bcd(start % 100), 4)
    return function(n)
        return bytes .. bcd(floor(n / 100000000)) .. bcd(n % 100000000), digits .. format('%.0f', n)
    end
end

-- Where it was not foretold.
local compute
if start ~= ARGV[1] or counter ~= tonumber(ARGV[2]) then
    local floor_start, floor_counter = tonumber(ARGV[1]), tonumber(ARGV[2])
    start = tonumber(start or '0')
    if start == 0 or start < floor_start then
        -- Redis came back empty. Processes that remember the start date for life go on with it too.
        start = floor_start > 0 and floor_start or tonumber(call('TIME')[1])
        call('SET', 'server:startdate', format('%.0f', start))
    end
    if start == floor_start and counter < floor_counter then
        -- The counter has gone back. It goes on far above what the caller has seen, so that ids also
        -- lie above those that somebody else has, and not below the microseconds since the start
        -- date, so that they do even if Redis loses them again before everybody has learned of the
        -- first time (position.lua does the same).
        local time = call('TIME')
        local elapsed = (time[1] - floor_start) * 1000000 + time[2]
        counter = math.max(floor_counter + 1000000, elapsed)
        call('SET', 'server:messagecounter', format('%.0f', counter + total))
    end
    compute = ids()
end
local before = counter

-- Takes some members out of a long list whose messages have expired.
local function trim(list)
    if call('ZCARD', list) < 200 then return end
    local dead = {}
    for _, mid in ipairs(call('ZRANDMEMBER', list, 64)) do
        if call('EXISTS', 'message:' .. mid) == 0 then dead[#dead + 1] = mid end
    end
    if #dead > 0 then call('ZREM', list, unpack(dead)) end
end

-- Puts a message into the queues of its receivers. `arg`: where its arguments begin; `n`: its counter.
local function store(arg, n)
    local expiry, receivers, mid = ARGV[arg], ARGV[arg + 1], ARGV[arg + 3]
    call('SETEX', 'message:' .. mid, expiry, ARGV[arg + 5])
    local ttl = tonumber(expiry)
    if ttl < LIST_TTL then ttl = LIST_TTL end
    for i = 1, #receivers, 17 do
        local list = sub(receivers, i + 1, i + 16)
        if sub(receivers, i, i) == '\1' then
            list = 'channel:messages:' .. list
        else
            list = 'pubchannel:messages:' .. list
        end
        call('ZADD', list, '0', mid)
        local left = call('TTL', list)
        if left < ttl then
            -- Somewhat ahead, or it would be due again a second later.
            call('EXPIRE', list, format('%.0f', left < 0 and ttl or ttl + floor(ttl / 16)))
        end
        -- Now and then, whatever the channel's share of the ids.
        if (n % 1009) * 7919 % 1009 < 64 then trim(list) end
    end
end

local function log(arg)
    if ARGV[arg] == '0' then
        return redis.pcall('XADD', 'bxpush:log', ARGV[arg + 4], 'r', ARGV[arg + 1], 'o', ARGV[arg + 5])
    end
    return redis.pcall('XADD', 'bxpush:log', ARGV[arg + 4], 'r', ARGV[arg + 1])
end

-- Tells everybody of a message, now and for a while.
local function announce(arg)
    local answer = log(arg)
    if type(answer) == 'table' and answer.err then
        -- The log knows higher ids: it is of another time.
        redis.pcall('DEL', 'bxpush:log')
        log(arg)
    end
    call('PUBLISH', channel, ARGV[arg + 2] .. ARGV[arg + 5])
end

-- Messages of a publish. All are stored before one is announced.
local function publish(from, upto)
    local n = counter
    for arg = from, upto, WIDTH do
        n = n + 1
        if ARGV[arg] ~= '0' then store(arg, n) end
    end
    for arg = from, upto, WIDTH do announce(arg) end
end

local replies = {}
at = FIRST
while at <= size do
    local token, count = 'bxpush:token:' .. ARGV[at], tonumber(ARGV[at + 1])
    local from, upto = at + 2, at + 1 + count * WIDTH
    if compute then
        local n = counter
        for arg = from, upto, WIDTH do
            n = n + 1
            local mid, entry = compute(n)
            ARGV[arg + 3], ARGV[arg + 4] = mid, entry
            ARGV[arg + 5] = '\10\13' .. mid .. sub(ARGV[arg + 5], 16)
        end
    end
    local reply = ARGV[from + 3]
    if call('SET', token, reply, 'NX', 'EX', TOKEN_TTL) then
        local ok, problem = pcall(publish, from, upto)
        if not ok then
            -- All or nothing; and nobody shall wait for the ids.
            call('DEL', token)
            for arg = from, upto, WIDTH do
                call('DEL', 'message:' .. ARGV[arg + 3])
                call('PUBLISH', channel, NOBODY .. ARGV[arg + 3])
            end
            reply = '-' .. (type(problem) == 'table' and problem.err or tostring(problem))
        end
        counter = counter + count
    else
        -- Stored before; whoever comes next gets the ids.
        reply = call('GET', token)
        compute = compute or ids()
    end
    replies[#replies + 1] = reply
    at = upto + 1
end
-- Ids that stored publishes did not need are given out next.
if counter < before + total then
    call('SET', 'server:messagecounter', format('%.0f', counter))
end
return replies
