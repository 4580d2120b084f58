-- Decides about some calls of one scope, one after the other: each takes all of
-- its limits, places and gates, or none. state.go has the same in Go. What several
-- calls have in common is read, and written, once.
-- KEYS: limits, gates, concurrency limits, each once
-- ARGV: now (0: the server's time), number of limits among the keys, of gates, of
--       rates, of maxima, of calls;
--       rates: index of the key, interval, burst, cost, flags (1: window, 2:
--       queue, 3: both); maxima: index of the key, max, TTL;
--       calls: horizon, permit, number of rates, index of each, number of maxima,
--       index of each, number of gates, index of the key of each
-- Returns for each call 1, what decided, delay, mark of each of its limits when
-- all was taken, and 0, what, delay when not. What decided counts the call's
-- limits, maxima and gates, 0: nothing. -1 instead of 0: a concurrency limit is
-- full, the delay is that of the rest.
-- Numbers are whole and below 2^53, of which %d prints all digits.
local call, max, format, match = redis.call, math.max, string.format, string.match
local argv, keys = ARGV, KEYS
local now = tonumber(argv[1])
if now == 0 then
  local t = call('TIME')
  now = t[1] * 1000000 + t[2]
end
local nl, ng, nr, nm, n = tonumber(argv[2]), tonumber(argv[3]), tonumber(argv[4]), tonumber(argv[5]), tonumber(argv[6])
local a = 6
local rkey, interval, burst, cost, window, queue = {}, {}, {}, {}, {}, {}
for i = 1, nr do
  local flags = tonumber(argv[a + 5])
  rkey[i], interval[i], burst[i], cost[i] = tonumber(argv[a + 1]), tonumber(argv[a + 2]), tonumber(argv[a + 3]), tonumber(argv[a + 4])
  window[i], queue[i] = flags % 2 == 1, flags >= 2
  a = a + 5
end
local mkey, most, ttl = {}, {}, {}
for i = 1, nm do
  mkey[i], most[i], ttl[i] = tonumber(argv[a + 1]), tonumber(argv[a + 2]), tonumber(argv[a + 3])
  a = a + 3
end

local have = nl + ng == 0 and {} or call('MGET', unpack(keys, 1, nl + ng))
local tat, due, back, left, reset, flight, expires = {}, {}, {}, {}, {}, {}, {}
for i = 1, nl do
  tat[i], due[i], back[i], left[i], reset[i], flight[i] = now, now, 0, -1, 0, 0
  if have[i] then
    local s1, s2, s3, s4, s5, s6, s7 = match(have[i], '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
    tat[i], due[i], back[i], left[i], reset[i], flight[i] = tonumber(s1), tonumber(s2), tonumber(s3), tonumber(s5), tonumber(s6), tonumber(s7)
    local later = s4 - now
    if later > 0 then
      tat[i], due[i], reset[i] = tat[i] - later, due[i] - later, max(0, reset[i] - later)
    end
    if reset[i] > 0 and reset[i] <= now then left[i], reset[i], flight[i] = -1, 0, 0 end
  end
end
local gate = {}
for i = nl + 1, nl + ng do
  gate[i] = 0
  if have[i] then
    local s1, s2 = match(have[i], '^(%S+) (%S+)')
    gate[i] = s1 - max(now, tonumber(s2))
  end
end

local held, taken, kept = {}, {}, {} -- by key of a concurrency limit: how many, what is to be added, until when
local function add(k)
  if taken[k] and #taken[k] > 0 then
    call('ZADD', keys[k], unpack(taken[k]))
    taken[k] = {}
  end
end
local function full(i, horizon)
  local k, key = mkey[i], keys[mkey[i]]
  held[k] = held[k] or call('ZCARD', key)
  if held[k] < most[i] then return false end
  add(k)
  call('ZREMRANGEBYSCORE', key, '-inf', format('%d', now))
  held[k] = call('ZCARD', key)
  if held[k] < most[i] then return false end
  -- A clock that was set back must not keep the places of who is gone.
  local latest = format('%d', now + ttl[i] + horizon)
  for _, member in ipairs(call('ZRANGEBYSCORE', key, '(' .. latest, '+inf', 'LIMIT', 0, 100)) do
    call('ZADD', key, latest, member)
  end
  return true
end

local result, r = {}, 0
local waits = {}
for _ = 1, n do
  local horizon, permit, limits = tonumber(argv[a + 1]), argv[a + 2], tonumber(argv[a + 3])
  local first = a + 3
  a = first + limits
  local maxima = tonumber(argv[a + 1])
  local second = a + 1
  a = second + maxima
  local gates = tonumber(argv[a + 1])
  local third = a + 1
  a = third + gates

  local delay, who, none, shut = 0, 0, 0, 0
  for j = 1, limits do
    local i = tonumber(argv[first + j])
    local k = rkey[i]
    local wait = max(tat[k], now) + (cost[i] - burst[i]) * interval[i] - now
    if window[i] and left[k] >= 0 and left[k] < cost[i] then wait = max(wait, reset[k] - now) end
    if wait > delay then delay, who = wait, j end
    waits[j] = wait
  end
  for j = 1, maxima do
    if full(tonumber(argv[second + j]), horizon) and none == 0 then none = limits + j end
  end
  for j = 1, gates do
    local wait = gate[tonumber(argv[third + j])]
    shut = max(shut, wait)
    if wait > delay then delay, who = wait, limits + maxima + j end
  end

  if none > 0 then
    result[r + 1], result[r + 2], result[r + 3] = -1, none, delay
    r = r + 3
  elseif delay > horizon then
    result[r + 1], result[r + 2], result[r + 3] = 0, who, delay
    r = r + 3
  else
    result[r + 1], result[r + 2], result[r + 3] = 1, who, delay
    r = r + 3
    for j = 1, limits do
      local i = tonumber(argv[first + j])
      local k, goes = rkey[i], now + delay
      if queue[i] then goes = now + max(0, shut, waits[j]) end
      tat[k] = max(tat[k], goes) + cost[i] * interval[i]
      due[k] = max(due[k], goes)
      local ends = tat[k] + 1000
      if window[i] then
        if left[k] >= cost[i] and goes < reset[k] then left[k] = left[k] - cost[i] end
        flight[k] = flight[k] + cost[i]
        ends = max(tat[k], reset[k], now + 60000000)
      end
      expires[k] = max(expires[k] or 0, ends)
      r = r + 1
      result[r] = tat[k] + back[k]
    end
    for j = 1, maxima do
      local i = tonumber(argv[second + j])
      local k, ends = mkey[i], delay + ttl[i]
      local members = taken[k] or {}
      members[#members + 1] = format('%d', now + ends)
      members[#members + 1] = permit
      taken[k], held[k], kept[k] = members, held[k] + 1, max(kept[k] or 0, ends)
    end
  end
end

for k = 1, nl do
  if expires[k] then
    call('SET', keys[k], format('%d %d %d %d %d %d %d', tat[k], due[k], back[k], now, left[k], reset[k], flight[k]),
      'PX', math.ceil((expires[k] - now) / 1000))
  end
end
for k, ends in pairs(kept) do
  local key = keys[k]
  add(k)
  call('PEXPIRE', key, math.ceil(ends / 1000) + 1000)
end
return result
