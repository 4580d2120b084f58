-- Ends a call: gives its places back, settles what it used, and learns what the
-- response said. state.go has the same in Go.
-- KEYS: limits, concurrency limits, gates
-- ARGV: now (0: the server's time), permit, number of limits, of concurrency
--       limits; for each limit: interval, cost, window, used, mark,
--       remaining (-1: not said), reset; for each gate: pause (0: not said), base
-- Numbers are whole and below 2^53, of which %d prints all digits.
local call, max, min, format, match = redis.call, math.max, math.min, string.format, string.match
local argv, keys = ARGV, KEYS
local nl, nc = tonumber(argv[3]), tonumber(argv[4])
for i = nl + 1, nl + nc do
  call('ZREM', keys[i], argv[2])
end
if nl + nc == #keys and nl == 0 then return 1 end

local now = tonumber(argv[1])
if now == 0 then
  local t = call('TIME')
  now = t[1] * 1000000 + t[2]
end
local have = call('MGET', unpack(keys)) -- nothing of concurrency limits
local a = 4
for i = 1, nl do
  local interval, cost, window = tonumber(argv[a + 1]), tonumber(argv[a + 2]), argv[a + 3] == '1'
  local over, remaining = cost - argv[a + 4], tonumber(argv[a + 6])
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
  if over > 0 then
    local mine = argv[a + 5] - back
    if mine <= tat then
      local refund = max(0, min(over * interval, mine - max(now, due)))
      tat, back = tat - refund, (back + refund) % 1125899906842624
    end
  elseif over < 0 then
    tat = max(tat, now) - over * interval
  end
  local expires = max(tat, now) + 1000
  if window then
    flight = max(0, flight - cost)
    if left >= 0 then left = max(0, left + over) end
    if remaining >= 0 then
      local l, ends = max(0, remaining - flight), now + argv[a + 7]
      if left < 0 or ends > reset + 2000000 then
        left, reset = l, ends
      else
        left = min(left, l)
      end
    end
    expires = max(tat, reset, now + 60000000)
  end
  if have[i] or over < 0 or remaining >= 0 then
    call('SET', keys[i], format('%d %d %d %d %d %d %d', tat, due, back, now, left, reset, flight),
      'PX', math.ceil((expires - now) / 1000))
  end
  a = a + 7
end
for i = nl + nc + 1, #keys do
  local known, base = tonumber(argv[a + 1]), tonumber(argv[a + 2])
  local until_, step = 0, 0
  if have[i] then
    local s1, s2, s3 = match(have[i], '^(%S+) (%S+) (%S+)$')
    until_, step = s1 - max(0, s2 - now), tonumber(s3)
  end
  if known > 0 then
    until_ = max(until_, now + known)
  elseif until_ <= now then
    if step > 0 and now < until_ + 2 * step then
      step = min(2 * step, 3600000000)
    else
      step = base
    end
    until_ = now + step
  end
  local expires = max(until_ + 2 * step, now + 1000)
  call('SET', keys[i], format('%d %d %d', until_, now, step), 'PX', math.ceil((expires - now) / 1000))
  a = a + 2
end
return 1
