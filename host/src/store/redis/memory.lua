-- The small memories of plugins. `m:<space>` has the values, `l:<space>` the ends of those that have one, and
-- `lives` each such space by its first end. Space and key come first.

local function is_over(space, key)
  local over = call('ZSCORE', base .. 'l:' .. space, key)
  return over and tonumber(over) <= clock
end

local function settle_lives(space)
  local first = call('ZRANGE', base .. 'l:' .. space, 0, 0, 'WITHSCORES')
  if first[2] then
    call('ZADD', base .. 'lives', first[2], space)
  else
    call('ZREM', base .. 'lives', space)
  end
end

-- Deletes keys past their life, so many at most.
local function bury(space, limit)
  local over = call('ZRANGEBYSCORE', base .. 'l:' .. space, '-inf', int(clock), 'LIMIT', 0, limit)
  for _, key in ipairs(over) do
    call('HDEL', base .. 'm:' .. space, key)
    call('ZREM', base .. 'l:' .. space, key)
  end
  settle_lives(space)
  return #over
end

local function has_room(space, key, limit)
  local others = call('HLEN', base .. 'm:' .. space) - call('HEXISTS', base .. 'm:' .. space, key)
  return others < limit
end

-- `life` in milliseconds, or empty.
local function put(space, key, value, life, limit)
  if not has_room(space, key, limit) then
    bury(space, -1)
    if not has_room(space, key, limit) then return redis.error_reply('QUOTA this memory is full') end
  end
  call('HSET', base .. 'm:' .. space, key, value)
  if life == '' then
    call('ZREM', base .. 'l:' .. space, key)
  else
    call('ZADD', base .. 'l:' .. space, int(clock + tonumber(life)), key)
  end
  settle_lives(space)
  return 1
end

function ops.get()
  if is_over(arg(1), arg(2)) then return false end
  return call('HGET', base .. 'm:' .. arg(1), arg(2))
end

-- Value, life, how many keys there may be.
function ops.set() return put(arg(1), arg(2), arg(3), arg(4), tonumber(arg(5))) end

function ops.delete()
  call('HDEL', base .. 'm:' .. arg(1), arg(2))
  call('ZREM', base .. 'l:' .. arg(1), arg(2))
  settle_lives(arg(1))
  return 1
end

-- By how much, life, how many keys there may be.
function ops.increment()
  local space, key, by = arg(1), arg(2), arg(3)
  if is_over(space, key) or call('HEXISTS', base .. 'm:' .. space, key) == 0 then
    local put_first = put(space, key, by, arg(4), tonumber(arg(5)))
    return put_first == 1 and by or put_first
  end
  local sum = redis.pcall('HINCRBY', base .. 'm:' .. space, key, by)
  if type(sum) == 'table' and sum.err then
    if not string.find(sum.err, 'overflow') then return redis.error_reply('NOTANUMBER this value') end
    local most = string.sub(by, 1, 1) == '-' and '-9223372036854775808' or '9223372036854775807'
    call('HSET', base .. 'm:' .. space, key, most)
  end
  -- Not `sum`, which is a double by now.
  return call('HGET', base .. 'm:' .. space, key)
end

-- How many at most.
function ops.sweep_memory()
  local limit, deleted = tonumber(arg(1)), 0
  while deleted < limit do
    local space = call('ZRANGEBYSCORE', base .. 'lives', '-inf', int(clock), 'LIMIT', 0, 1)[1]
    if not space then break end
    deleted = deleted + bury(space, limit - deleted)
  end
  return deleted
end
