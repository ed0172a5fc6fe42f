-- Files of plugins' releases, for nodes that lack them. `f:<digest>` has the pieces by their numbers, and in `pieces`,
-- which comes last, how many there are. The digest comes first. A file whose `pieces` never comes, since its node died,
-- goes by itself: each piece gives it another hour.

local UNFINISHED_SECONDS = 3600

local function file() return base .. 'f:' .. arg(1) end

-- False: it is not whole.
function ops.release_pieces() return call('HGET', file(), 'pieces') end

-- Number, bytes.
function ops.keep_piece()
  call('HSET', file(), arg(2), arg(3))
  if call('HEXISTS', file(), 'pieces') == 0 then call('EXPIRE', file(), UNFINISHED_SECONDS) end
  return 1
end

-- How many there are.
function ops.keep_release()
  call('HSET', file(), 'pieces', arg(2))
  call('PERSIST', file())
  return 1
end

-- Number.
function ops.release_piece() return call('HGET', file(), arg(2)) end

function ops.drop_release()
  call('UNLINK', file())
  return 1
end
