-- Takes all limits, places and gates of a call, or none. state.go has the same in Go.
-- KEYS: limits, concurrency limits, gates
-- ARGV: now (0: the server's time), horizon, permit, number of limits, of
--       concurrency limits; for each limit: interval, burst, cost, flags (1:
--       window, 2: queue, 3: both);
--       for each concurrency limit: max, TTL
-- Returns {1, who decided, delay, mark of each limit} when all was taken, {0,
-- who, delay} when not; who is an index of KEYS, 0 for nobody. -1 instead of 0:
-- a concurrency limit is full, the delay is that of the rest.
-- Numbers are whole and below 2^53, of which %d prints all digits.
local call, max, format, match = redis.call, math.max, string.format, string.match
local argv, keys = ARGV, KEYS
local now = tonumber(argv[1])
if now == 0 then
  local t = call('TIME')
  now = t[1] * 1000000 + t[2]
end
local horizon = tonumber(argv[2])
local nl, nc = tonumber(argv[4]), tonumber(argv[5])
local delay, who, full = 0, 0, 0
local waits, tats, dues, backs, lefts, resets, flights = {}, {}, {}, {}, {}, {}, {}
local have = nl == 0 and nc == #keys and {} or call('MGET', unpack(keys)) -- nothing of concurrency limits
local a = 5
for i = 1, nl do
  local interval, burst, cost = tonumber(argv[a + 1]), tonumber(argv[a + 2]), tonumber(argv[a + 3])
  local tat, due, back, left, reset, flight = now, now, 0, -1, 0, 0
  if have[i] then
    local s1, s2, s3, s4, s5, s6, s7 = match(have[i], '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
    tat, due, back, left, reset, flight = tonumber(s1), tonumber(s2), tonumber(s3), tonumber(s5), tonumber(s6), tonumber(s7)
    local later = s4 - now
    if later > 0 then
      tat, due, reset = tat - later, due - later, max(0, reset - later)
    end
    if reset > 0 and reset <= now then left, reset, flight = -1, 0, 0 end
  end
  local wait = max(tat, now) + (cost - burst) * interval - now
  if left >= 0 and left < cost and argv[a + 4] % 2 == 1 then wait = max(wait, reset - now) end
  if wait > delay then delay, who = wait, i end
  waits[i], tats[i], dues[i], backs[i], lefts[i], resets[i], flights[i] = wait, tat, due, back, left, reset, flight
  a = a + 4
end
for i = nl + 1, nl + nc do
  local key, most = keys[i], tonumber(argv[a + 1])
  if call('ZCARD', key) >= most then
    call('ZREMRANGEBYSCORE', key, '-inf', format('%d', now))
    if call('ZCARD', key) >= most then
      if full == 0 then full = i end
      -- A clock that was set back must not keep the places of who is gone.
      local latest = format('%d', now + argv[a + 2] + horizon)
      for _, member in ipairs(call('ZRANGEBYSCORE', key, '(' .. latest, '+inf', 'LIMIT', 0, 100)) do
        call('ZADD', key, latest, member)
      end
    end
  end
  a = a + 2
end
local shut = 0
for i = nl + nc + 1, #keys do
  if have[i] then
    local s1, s2 = match(have[i], '^(%S+) (%S+)')
    local wait = s1 - max(now, tonumber(s2))
    shut = max(shut, wait)
    if wait > delay then delay, who = wait, i end
  end
end
if full > 0 then return {-1, full, delay} end
if delay > horizon then return {0, who, delay} end

local due, result = now + delay, {1, who, delay}
a = 5
for i = 1, nl do
  local cost, left, reset, flight = tonumber(argv[a + 3]), lefts[i], resets[i], flights[i]
  local flags, goes = tonumber(argv[a + 4]), due
  if flags >= 2 then goes = now + max(0, shut, waits[i]) end
  local tat = max(tats[i], goes) + cost * argv[a + 1]
  local expires = tat + 1000
  if flags % 2 == 1 then
    if left >= cost and goes < reset then left = left - cost end
    flight = flight + cost
    expires = max(tat, reset, now + 60000000)
  end
  call('SET', keys[i], format('%d %d %d %d %d %d %d', tat, max(dues[i], goes), backs[i], now, left, reset, flight),
    'PX', math.ceil((expires - now) / 1000))
  result[3 + i] = tat + backs[i]
  a = a + 4
end
for i = nl + 1, nl + nc do
  local ttl = tonumber(argv[a + 2])
  call('ZADD', keys[i], format('%d', due + ttl), argv[3])
  call('PEXPIRE', keys[i], math.ceil((delay + ttl) / 1000) + 1000)
  a = a + 2
end
return result
