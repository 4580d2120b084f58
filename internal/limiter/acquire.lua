-- Takes all limits, places and gates of a call, or none. state.go has the same in Go.
-- KEYS: limits, concurrency limits, gates
-- ARGV: now (0: the server's time), horizon, permit, number of limits, of
--       concurrency limits; for each limit: interval, burst, cost, window;
--       for each concurrency limit: max, TTL
-- Returns {1, who decided, delay, mark of each limit} when all was taken, {0,
-- who, delay} when not; who is an index of KEYS, 0 for nobody. -1 instead of 0:
-- a concurrency limit is full, the delay is that of the rest.
local now = tonumber(ARGV[1])
if now == 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local horizon, permit = tonumber(ARGV[2]), ARGV[3]
local nl, nc = tonumber(ARGV[4]), tonumber(ARGV[5])
local ng = #KEYS - nl - nc
local delay, who, full = 0, 0, 0
local states = {}
for i = 1, nl do
  local a = 6 + (i - 1) * 4
  local interval, burst, cost, window = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), ARGV[a + 3] == '1'
  local tat, due, back, left, reset, flight = now, now, 0, -1, 0, 0
  local raw = redis.call('GET', KEYS[i])
  if raw then
    local s1, s2, s3, s4, s5, s6, s7 = string.match(raw, '^(%-?%d+) (%-?%d+) (%d+) (%d+) (%-?%d+) (%d+) (%d+)$')
    local at
    tat, due, back, at = tonumber(s1), tonumber(s2), tonumber(s3), tonumber(s4)
    left, reset, flight = tonumber(s5), tonumber(s6), tonumber(s7)
    if at > now then
      tat, due = tat - (at - now), due - (at - now)
      reset = math.max(0, reset - (at - now))
    end
    if reset > 0 and reset <= now then left, reset, flight = -1, 0, 0 end
  end
  local wait = math.max(tat, now) + (cost - burst) * interval - now
  if window and left >= 0 and left < cost then wait = math.max(wait, reset - now) end
  if wait > delay then delay, who = wait, i end
  states[i] = {tat, due, back, left, reset, flight, interval, cost, window}
end
for i = 1, nc do
  local a, key = 6 + nl * 4 + (i - 1) * 2, KEYS[nl + i]
  local most, ttl = tonumber(ARGV[a]), tonumber(ARGV[a + 1])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
  if redis.call('ZCARD', key) >= most then
    if full == 0 then full = nl + i end
    -- A clock that was set back must not keep the places of who is gone.
    local latest = string.format('%.0f', now + ttl + horizon)
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. latest, '+inf', 'LIMIT', 0, 100)) do
      redis.call('ZADD', key, latest, member)
    end
  end
end
if ng > 0 then
  local gates = redis.call('MGET', unpack(KEYS, nl + nc + 1))
  for i = 1, ng do
    if gates[i] then
      local s1, s2 = string.match(gates[i], '^(%-?%d+) (%d+) %d+$')
      local until_, at = tonumber(s1), tonumber(s2)
      if at > now then until_ = until_ - (at - now) end
      if until_ - now > delay then delay, who = until_ - now, nl + nc + i end
    end
  end
end
if full > 0 then return {-1, full, delay} end
if delay > horizon then return {0, who, delay} end

local goes, result = now + delay, {1, who, delay}
for i = 1, nl do
  local tat, due, back, left, reset, flight, interval, cost, window = unpack(states[i])
  tat, due = math.max(tat, goes) + cost * interval, math.max(due, goes)
  local expires = math.max(tat, now) + 1000
  if window then
    if left >= cost and goes < reset then left = left - cost end
    flight = flight + cost
    expires = math.max(tat, reset, now + 60000000)
  end
  redis.call('SET', KEYS[i], string.format('%.0f %.0f %.0f %.0f %.0f %.0f %.0f', tat, due, back, now, left, reset, flight),
    'PX', string.format('%.0f', math.ceil((expires - now) / 1000)))
  result[3 + i] = tat + back
end
for i = 1, nc do
  local key, ttl = KEYS[nl + i], tonumber(ARGV[6 + nl * 4 + (i - 1) * 2 + 1])
  redis.call('ZADD', key, string.format('%.0f', goes + ttl), permit)
  redis.call('PEXPIRE', key, string.format('%.0f', math.ceil((goes + ttl - now) / 1000) + 1000))
end
return result
