-- Allowances: the generic cell rate algorithm, as `allowance.rs` has it. `full` has each key by the time, in
-- microseconds, at which its bucket is full again; some time after that it is forgotten.

-- Keys that are remembered: some 150 MB. Past it those who lose least by it are forgotten.
local KEYS_MAX = 1000000
local EVICTED_SHARE = 8
-- A clock that is set back by less gives nobody a burst more.
local FULL_KEPT = 3600 * 1000000

-- For each allowance: key, interval, burst. Tells which one refuses, and when all have room, or nothing.
function ops.take()
  local now = by_caller and told * 1000 or micros
  local full = base .. 'full'
  call('ZREMRANGEBYSCORE', full, '-inf', int(now - FULL_KEPT))
  if call('ZCARD', full) >= KEYS_MAX then call('ZREMRANGEBYRANK', full, 0, KEYS_MAX / EVICTED_SHARE) end
  local which, free, fills = nil, now, {}
  for at = 1, given, 3 do
    local key, interval, burst = arg(at), tonumber(arg(at + 1)), tonumber(arg(at + 2))
    local kept = tonumber(call('ZSCORE', full, key) or now)
    -- No bucket is emptier than empty, or a clock that was set back, or a limit that was lowered, locks its
    -- owner out.
    local full_at = math.min(kept, now + interval * burst)
    if full_at ~= kept then call('ZADD', full, int(full_at), key) end
    local free_at = full_at + interval - interval * burst
    -- Of two that last as long it is the later one, as in `allowance.rs`.
    if free_at > now and free_at >= free then which, free = (at - 1) / 3, free_at end
    fills[#fills + 1] = { key, math.max(full_at, now) + interval }
  end
  if which then return { int(which), int(told + math.ceil((free - now) / 1000)) } end
  for _, fill in ipairs(fills) do call('ZADD', full, int(fill[2]), fill[1]) end
  return false
end

-- How many at most. Keys of which something is used, and when all of it is there again; the emptiest first.
function ops.used()
  local now = by_caller and told * 1000 or micros
  local used, keys = {}, call('ZREVRANGEBYSCORE', base .. 'full', '+inf', '(' .. int(now), 'WITHSCORES', 'LIMIT', 0, arg(1))
  for at = 1, #keys, 2 do
    used[#used + 1] = { keys[at], int(told + math.ceil((tonumber(keys[at + 1]) - now) / 1000)) }
  end
  return used
end
