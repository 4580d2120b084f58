-- Ends a call: gives its places back, settles what it used, and learns what the
-- response said. state.go has the same in Go.
-- KEYS: limits, concurrency limits, gates
-- ARGV: now (0: the server's time), permit, number of limits, of concurrency
--       limits; for each limit: interval, cost, window, used, mark,
--       remaining (-1: not said), reset; for each gate: pause (0: not said), base
local now = tonumber(ARGV[1])
if now == 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local permit, nl, nc = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
for i = 1, nl do
  local a = 5 + (i - 1) * 7
  local interval, cost, window = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), ARGV[a + 2] == '1'
  local used, mark, remaining, reset_in = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5]), tonumber(ARGV[a + 6])
  local raw = redis.call('GET', KEYS[i])
  local tat, due, back, left, reset, flight = now, now, 0, -1, 0, 0
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
  local over = cost - used
  if over > 0 then
    local mine = mark - back
    if mine <= tat then
      local refund = math.max(0, math.min(over * interval, mine - math.max(now, due)))
      tat, back = tat - refund, (back + refund) % 1125899906842624
    end
  elseif over < 0 then
    tat = math.max(tat, now) - over * interval
  end
  local expires = math.max(tat, now) + 1000
  if window then
    flight = math.max(0, flight - cost)
    if left >= 0 then left = math.max(0, left + over) end
    if remaining >= 0 then
      local l = math.max(0, remaining - flight)
      if left < 0 or now + reset_in > reset + 2000000 then
        left, reset = l, now + reset_in
      else
        left = math.min(left, l)
      end
    end
    expires = math.max(tat, reset, now + 60000000)
  end
  if raw or over < 0 or remaining >= 0 then
    redis.call('SET', KEYS[i], string.format('%.0f %.0f %.0f %.0f %.0f %.0f %.0f', tat, due, back, now, left, reset, flight),
      'PX', string.format('%.0f', math.ceil((expires - now) / 1000)))
  end
end
for i = nl + 1, nl + nc do
  redis.call('ZREM', KEYS[i], permit)
end
for i = nl + nc + 1, #KEYS do
  local a = 5 + nl * 7 + (i - nl - nc - 1) * 2
  local known, base = tonumber(ARGV[a]), tonumber(ARGV[a + 1])
  local until_, step = 0, 0
  local raw = redis.call('GET', KEYS[i])
  if raw then
    local s1, s2, s3 = string.match(raw, '^(%-?%d+) (%d+) (%d+)$')
    local at
    until_, at, step = tonumber(s1), tonumber(s2), tonumber(s3)
    if at > now then until_ = until_ - (at - now) end
  end
  if known > 0 then
    until_ = math.max(until_, now + known)
  elseif until_ <= now then
    if step > 0 and now < until_ + 2 * step then
      step = math.min(2 * step, 3600000000)
    else
      step = base
    end
    until_ = now + step
  end
  local expires = math.max(until_ + 2 * step, now + 1000)
  redis.call('SET', KEYS[i], string.format('%.0f %.0f %.0f', until_, now, step),
    'PX', string.format('%.0f', math.ceil((expires - now) / 1000)))
end
return 1
