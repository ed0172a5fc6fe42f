-- A store's form and what proves its key: both given by whoever comes first.
function ops.found()
  call('SET', base .. 'layout', arg(1), 'NX')
  call('SET', base .. 'proof', arg(2), 'NX')
  return { call('GET', base .. 'layout'), call('GET', base .. 'proof') }
end

local outcome = ops[ARGV[1]]()
if type(outcome) == 'table' and outcome.err then return outcome end
if stirs then call('PUBLISH', string.match(KEYS[1], '^{(.*):[^:]*}$') .. ':stirred', node) end
return { real, outcome }
