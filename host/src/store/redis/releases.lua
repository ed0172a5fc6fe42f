-- Files of plugins' releases, for nodes that lack them. `f:<digest>` has the pieces by their numbers, and in `pieces`,
-- which comes last, how many there are. The digest comes first.

-- False: it is not whole.
function ops.release_pieces() return call('HGET', base .. 'f:' .. arg(1), 'pieces') end

-- Number, bytes.
function ops.keep_piece()
  call('HSET', base .. 'f:' .. arg(1), arg(2), arg(3))
  return 1
end

-- How many there are.
function ops.keep_release()
  call('HSET', base .. 'f:' .. arg(1), 'pieces', arg(2))
  return 1
end

-- Number.
function ops.release_piece() return call('HGET', base .. 'f:' .. arg(1), arg(2)) end

function ops.drop_release()
  call('UNLINK', base .. 'f:' .. arg(1))
  return 1
end
