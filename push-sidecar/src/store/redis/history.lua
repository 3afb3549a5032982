-- Reads what is stored and alive for some lists, at one moment with the last id given out.
--
-- KEYS: the lists. ARGV: 1 after (13 bytes), 2 the newest per list, 3 the newest of all.
-- Answers start date, counter, then id, message, id, message, …, descending. Caps count what is
-- alive; members whose message has expired are taken out of the list on the way.
local call = redis.call
local after, per_list, all = '(' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
-- Pages of a list that are looked at, at most: the script's time stays bounded.
local PAGES = 20

local found, ids = {}, {}
for _, list in ipairs(KEYS) do
    local alive, from, page = 0, 0, 0
    repeat
        local size = math.max(per_list - alive, 10)
        local members = call('ZREVRANGEBYLEX', list, '+', after, 'LIMIT', from, size)
        if #members == 0 then break end
        local keys, dead = {}, {}
        for i, mid in ipairs(members) do keys[i] = 'message:' .. mid end
        local messages = call('MGET', unpack(keys))
        for i, mid in ipairs(members) do
            if not messages[i] then
                dead[#dead + 1] = mid
            elseif alive < per_list then
                alive = alive + 1
                if not found[mid] then
                    found[mid] = messages[i]
                    ids[#ids + 1] = mid
                end
            end
        end
        -- A server that cannot be written to can still be read.
        if #dead > 0 and type(redis.pcall('ZREM', list, unpack(dead))) == 'number' then
            from = from - #dead
        end
        from = from + #members
        page = page + 1
    until #members < size or alive >= per_list or page >= PAGES
end
table.sort(ids, function(a, b) return a > b end)
local answer = {call('GET', 'server:startdate') or '0', call('GET', 'server:messagecounter') or '0'}
for i = 1, math.min(#ids, all) do
    answer[#answer + 1] = ids[i]
    answer[#answer + 1] = found[ids[i]]
end
return answer
