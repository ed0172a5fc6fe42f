-- What operators see and do. An act and its record are one step; `acts` keeps records until `audit` has chained
-- them. The audit itself has a slot of its own, where `audit` has the entries by their numbers and `floor` the last
-- one that was swept.

local function letter(seq)
  local kept = call('HMGET', row(seq), 'channel', 'message', 'request', 'received', 'ended', 'reason', 'reply')
  return { seq, kept[1], kept[2], kept[3], theirs(kept[4]), theirs(kept[5]), kept[6], kept[7] }
end

-- A channel, or all of this partition.
local function channels(named)
  if named ~= '' then return { named } end
  return call('SMEMBERS', base .. 'channels')
end

-- Channel or nothing, the highest number, how many at most.
function ops.letters()
  local found = {}
  for _, channel in ipairs(channels(arg(1))) do
    local dead = call('ZREVRANGEBYSCORE', base .. 'dead:' .. channel, arg(2), '-inf', 'LIMIT', 0, arg(3))
    for _, seq in ipairs(dead) do found[#found + 1] = seq end
  end
  table.sort(found, function(one, other) return one > other end)
  local letters = {}
  for at = 1, math.min(#found, tonumber(arg(3))) do letters[at] = letter(found[at]) end
  return letters
end

function ops.letter()
  if call('HGET', row(arg(1)), 'state') ~= 'dead' then return false end
  return letter(arg(1))
end

-- Channel or nothing; of the one before: when, and its place, or nothing; how many at most. Times here are this
-- server's, or the list would move under whoever turns its pages.
function ops.threads()
  local found = {}
  local function add(list)
    for at = 1, #list, 2 do found[#found + 1] = { tonumber(list[at + 1]), list[at] } end
  end
  for _, channel in ipairs(channels(arg(1))) do
    local key, last, limit = base .. 'threads:' .. channel, '+inf', arg(4)
    if arg(2) ~= '' then
      last = '(' .. arg(2)
      local same = call('ZREVRANGEBYSCORE', key, arg(2), arg(2), 'WITHSCORES')
      for at = 1, #same, 2 do
        if same[at] < arg(3) then add({ same[at], same[at + 1] }) end
      end
    end
    add(call('ZREVRANGEBYSCORE', key, last, '-inf', 'WITHSCORES', 'LIMIT', 0, limit))
  end
  table.sort(found, function(one, other)
    if one[1] ~= other[1] then return one[1] > other[1] end
    return one[2] > other[2]
  end)
  local threads = {}
  for at = 1, math.min(#found, tonumber(arg(4))) do
    local last, place = found[at][1], found[at][2]
    threads[at] = { place, int(last), call('LLEN', base .. 'h:' .. place), call('ZCARD', base .. 'q:' .. place) }
  end
  return threads
end

-- Channel, conversation, how many at most.
function ops.unfinished()
  local turns = {}
  for _, seq in ipairs(call('ZRANGE', base .. 'q:' .. place_of(arg(1), arg(2)), 0, tonumber(arg(3)) - 1)) do
    local kept = call('HMGET', row(seq), 'id', 'state', 'received', 'due', 'claims', 'reason')
    turns[#turns + 1] = { seq, kept[1], kept[2], theirs(kept[3]), theirs(kept[4]), kept[5], kept[6] }
  end
  return turns
end

-- Of any turn: with its receipt, if it has one.
local function turn_record(seq)
  local kept = call('HMGET', row(seq), 'message', 'state', 'received', 'due', 'ended', 'claims', 'reason', 'receipt')
  local ended = kept[5] and theirs(kept[5]) or false
  return { seq, kept[1], kept[2], theirs(kept[3]), theirs(kept[4]), ended, kept[6], kept[7], kept[8] }
end

-- Channel, message id.
function ops.record()
  local seq = call('HGET', base .. 'ids:' .. arg(1), arg(2))
  return seq and turn_record(seq)
end

-- Channel, the highest number, how many at most.
function ops.records()
  local known, records = call('HVALS', base .. 'ids:' .. arg(1)), {}
  table.sort(known, function(one, other) return one > other end)
  for _, seq in ipairs(known) do
    if #records >= tonumber(arg(3)) then break end
    if seq <= arg(2) then records[#records + 1] = turn_record(seq) end
  end
  return records
end

local function record(text) call('RPUSH', base .. 'acts', text) end

-- The record, the channel; then a message.
function ops.take_in_by()
  if take_in(arg(2), 3) == 0 then return 0 end
  record(arg(1))
  return 1
end

-- The record, channel, message id.
function ops.withdraw_by()
  if not withdraw(find(arg(2), arg(3))) then return 0 end
  record(arg(1))
  return 1
end

-- Takes a dead turn out of the dead ones.
local function wake_dead(seq)
  local turn = read(seq)
  if not turn or turn.state ~= 'dead' then return nil end
  call('ZREM', base .. 'died', seq)
  call('ZREM', base .. 'dead:' .. turn.channel, seq)
  return turn
end

-- As `letter.rs` has it: a message is an object with many fields.
local REPLAYED = '{"replayed":true,'
local function mark_replayed(key)
  local message = call('HGET', key, 'message')
  if string.sub(message, 1, #REPLAYED) ~= REPLAYED then
    call('HSET', key, 'message', REPLAYED .. string.sub(message, 2))
  end
end

-- The record, the turn; whether a stored answer is given up.
function ops.replay()
  local turn = wake_dead(arg(2))
  if not turn then return 0 end
  local key, place = row(turn.seq), place_of(turn.channel, turn.conversation)
  if arg(3) == '1' then call('HDEL', key, 'reply', 'checkpoint', 'receipt') end
  local kept = call('HMGET', key, 'reply', 'checkpoint')
  local is_begun = kept[2] and kept[2] ~= ''
  local state = not kept[1] and 'received' or is_begun and 'delivering' or 'answered'
  mark_replayed(key)
  call('HDEL', key, 'hold', 'lease', 'reason', 'ended')
  call('HSET', key, 'state', state, 'received', int(clock), 'due', int(clock), 'claims', 0, 'attempts', 0)
  call('ZADD', base .. 'open:' .. turn.channel, int(clock), turn.seq)
  call('ZADD', base .. 'q:' .. place, turn.seq, turn.seq)
  if call('ZCARD', base .. 'q:' .. place) == 1 then
    call('HSET', key, 'head', 1)
    index(turn)
  end
  record(arg(1))
  return 1
end

-- The record, the turn.
function ops.lay_to_rest()
  local turn = wake_dead(arg(2))
  if not turn then return 0 end
  call('HSET', row(turn.seq), 'state', 'withdrawn')
  call('ZADD', base .. 'ended', turn.ended, turn.seq)
  record(arg(1))
  return 1
end

-- The record, channel, conversation.
function ops.forget_by()
  if forget_history(arg(2), arg(3)) == 0 then return 0 end
  record(arg(1))
  return 1
end

-- The record.
function ops.note()
  record(arg(1))
  return 1
end

-- The record, the token, until when.
function ops.revoke()
  call('ZREMRANGEBYSCORE', base .. 'revoked', '-inf', int(clock))
  call('ZADD', base .. 'revoked', 'GT', int(ours(arg(3))), arg(2))
  record(arg(1))
  return 1
end

function ops.revoked()
  local tokens, list = {}, call('ZRANGEBYSCORE', base .. 'revoked', '(' .. int(clock), '+inf', 'WITHSCORES')
  for at = 1, #list, 2 do tokens[#tokens + 1] = { list[at], theirs(list[at + 1]) } end
  return tokens
end

-- Records that are not chained yet.
function ops.acts() return call('LRANGE', base .. 'acts', 0, -1) end

-- A record that is chained.
function ops.chained() return call('LREM', base .. 'acts', 1, arg(1)) end

local function last_entry()
  return call('ZREVRANGE', base .. 'audit', 0, 0)[1] or call('GET', base .. 'floor')
end

function ops.audit_last() return last_entry() end

-- The last entry as it was seen, the record's name, the new entry's number and text. Tells whether the record is in
-- the audit now; if not, another node was faster.
function ops.audit_append()
  if call('EXISTS', base .. 'in:' .. arg(2)) == 1 then return 1 end
  if (last_entry() or '') ~= arg(1) then return 0 end
  call('ZADD', base .. 'audit', arg(3), arg(4))
  -- Whoever chained it and died before he could say so is found out within a day.
  call('SET', base .. 'in:' .. arg(2), 1, 'EX', 86400)
  return 1
end

-- The highest number, how many at most.
function ops.audit_entries()
  return call('ZREVRANGEBYSCORE', base .. 'audit', arg(1), '-inf', 'LIMIT', 0, arg(2))
end

-- The oldest entries, from a place on, so many at most; before them the last one that was swept.
function ops.audit_old()
  return { call('GET', base .. 'floor'), call('ZRANGE', base .. 'audit', arg(1), arg(1) + arg(2) - 1) }
end

-- The last entry to go, and its number.
function ops.audit_sweep()
  call('SET', base .. 'floor', arg(1))
  return call('ZREMRANGEBYSCORE', base .. 'audit', '-inf', arg(2))
end
