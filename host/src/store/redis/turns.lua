-- Turns. `t:<seq>` is a row, and `g:<seq>` has those that it answers too; `ids:<channel>` leads from a message's id to
-- its row; `q:<place>` has a conversation's unfinished turns in order, of which one, its head, may be claimed. A head
-- is in `leased`, by when it may be claimed at the earliest, or in `due:<lane>`, by its time. A lane is a channel, and
-- the node that alone may claim there, if there is one; `lanes` has each lane by the time of its first turn.

-- As every store has it; see `sqlite/history.rs`.
local EXCHANGES_MAX = 200
-- 2026 began then; counted from it a turn's number stays below 2^53 with its partition beside it.
local EPOCH = 1767225600000000
-- A node that has claimed nothing for as long is gone.
local LAST_CLAIM_LIFE = 3600

local function row(seq) return base .. 't:' .. seq end
local function place_of(channel, conversation) return channel .. '\0' .. conversation end

-- In the order of arrival, whatever the clock does.
local function next_seq()
  local last = tonumber(call('GET', base .. 'seq') or 0)
  local seq = string.format('%016.0f', math.max(last + 1, math.floor((micros - EPOCH) / 10)))
  call('SET', base .. 'seq', seq)
  return seq
end

local FIELDS = {
  'lane', 'channel', 'conversation', 'id', 'state', 'head', 'fence', 'lease', 'due', 'hold', 'ended', 'checkpoint',
  'claims', 'unseen',
}

local function read(seq)
  local values = call('HMGET', row(seq), unpack(FIELDS))
  if not values[1] then return nil end
  local turn = { seq = seq }
  for place, field in ipairs(FIELDS) do turn[field] = values[place] or nil end
  return turn
end

local function find(channel, id)
  local seq = call('HGET', base .. 'ids:' .. channel, id)
  return seq and read(seq)
end

-- The turn of a claim that still counts.
local function held(seq, fence)
  local turn = read(seq)
  if turn and turn.fence == fence and turn.lease and not turn.ended then return turn end
end

local function lost() return redis.error_reply('LOST another worker holds this turn') end

local function settle(lane)
  local first = call('ZRANGE', base .. 'due:' .. lane, 0, 0, 'WITHSCORES')
  if first[2] then
    call('ZADD', base .. 'lanes', first[2], lane)
  else
    call('ZREM', base .. 'lanes', lane)
  end
end

-- Puts a head where its times say. To be called after each change of them.
local function index(turn)
  local times = call('HMGET', row(turn.seq), 'due', 'lease')
  local due, lease = tonumber(times[1]), tonumber(times[2] or nil)
  if lease then
    call('ZREM', base .. 'due:' .. turn.lane, turn.seq)
    call('ZADD', base .. 'leased', int(math.max(due, lease)), turn.seq)
  else
    call('ZREM', base .. 'leased', turn.seq)
    call('ZADD', base .. 'due:' .. turn.lane, int(due), turn.seq)
    stirs = stirs or due <= clock
  end
  settle(turn.lane)
end

local function promote(place)
  local first = call('ZRANGE', base .. 'q:' .. place, 0, 0)[1]
  if not first then return end
  call('HSET', row(first), 'head', 1)
  index(read(first))
end

-- What this turn answers too: behind it in its conversation, `generating` without being its head.
local function gathered_by(turn)
  local found = {}
  for _, seq in ipairs(call('ZRANGE', base .. 'g:' .. turn.seq, 0, -1)) do
    local other = read(seq)
    if other and other.state == 'generating' then found[#found + 1] = other end
  end
  return found
end

local function let_go(turn)
  for _, other in ipairs(gathered_by(turn)) do call('HSET', row(other.seq), 'state', 'received') end
  call('DEL', base .. 'g:' .. turn.seq)
end

-- The turn is no longer one of its conversation's unfinished ones.
local function leave(turn)
  let_go(turn)
  local place = place_of(turn.channel, turn.conversation)
  call('ZREM', base .. 'open:' .. turn.channel, turn.seq)
  call('ZREM', base .. 'q:' .. place, turn.seq)
  call('ZREM', base .. 'leased', turn.seq)
  call('ZREM', base .. 'due:' .. turn.lane, turn.seq)
  settle(turn.lane)
  if turn.head then promote(place) end
end

local function end_as(turn, state)
  call('HSET', row(turn.seq), 'state', state, 'ended', int(clock))
  call('HDEL', row(turn.seq), 'lease', 'head')
  leave(turn)
  if state == 'dead' then
    call('ZADD', base .. 'died', int(clock), turn.seq)
    call('ZADD', base .. 'dead:' .. turn.channel, turn.seq, turn.seq)
  else
    call('ZADD', base .. 'ended', int(clock), turn.seq)
  end
end

-- `said` is an exchange in JSON, or empty.
local function remember(turn, said)
  if said == '' then return end
  local place = place_of(turn.channel, turn.conversation)
  call('RPUSH', base .. 'h:' .. place, said)
  call('LTRIM', base .. 'h:' .. place, -EXCHANGES_MAX, -1)
  call('ZADD', base .. 'threads:' .. turn.channel, 'GT', int(clock), place)
end

-- Ends what the turn answered too, the way that it ends itself. To be called before it has left.
local function end_gathered(turn, state)
  local kept = call('HMGET', row(turn.seq), 'reply', 'receipt')
  for _, other in ipairs(gathered_by(turn)) do
    if state == 'dead' then
      call('HSET', row(other.seq), 'reason', 'it was answered with ' .. turn.id .. ', which died')
    else
      if kept[1] then call('HSET', row(other.seq), 'reply', kept[1]) end
      if kept[2] then call('HSET', row(other.seq), 'receipt', kept[2]) end
    end
    end_as(other, state)
  end
end

-- Where a conversation's last message said that replies go. A seal of 29 bytes holds nothing.
local function note_address(place, id, sealed)
  if #sealed <= 29 then return end
  call('HSET', base .. 'to:' .. place, 'id', id, 'address', sealed)
  call('ZADD', base .. 'to', int(clock), place)
end

-- Takes the message in whose parts are the arguments from there on: id, conversation, message, address, request, hold,
-- node that it is kept for, when it is due. Tells whether it is new.
local MESSAGE_PARTS = 8
local function take_in(channel, at)
  local id, conversation = arg(at), arg(at + 1)
  if call('HEXISTS', base .. 'ids:' .. channel, id) == 1 then return 0 end
  local seq, place = next_seq(), place_of(channel, conversation)
  local turn = { seq = seq, lane = arg(at + 6) .. ':' .. channel }
  local due = int(arg(at + 7) ~= '' and ours(arg(at + 7)) or clock)
  call('SADD', base .. 'channels', channel)
  call('HSET', base .. 'ids:' .. channel, id, seq)
  call('HSET', row(seq), 'channel', channel, 'id', id, 'conversation', conversation, 'lane', turn.lane,
    'message', arg(at + 2), 'address', arg(at + 3), 'request', arg(at + 4), 'state', 'received',
    'received', due, 'due', due, 'fence', 0, 'claims', 0, 'attempts', 0)
  if arg(at + 5) ~= '' then call('HSET', row(seq), 'hold', int(ours(arg(at + 5)))) end
  call('ZADD', base .. 'open:' .. channel, due, seq)
  call('ZADD', base .. 'q:' .. place, seq, seq)
  if call('ZCARD', base .. 'q:' .. place) == 1 then
    call('HSET', row(seq), 'head', 1)
    index(turn)
  end
  note_address(place, id, arg(at + 3))
  return 1
end

-- Channel; then each message.
function ops.accept()
  local outcome = {}
  for at = 2, given, MESSAGE_PARTS do outcome[#outcome + 1] = take_in(arg(1), at) end
  return outcome
end

local function is_begun(turn) return (turn.checkpoint or '') ~= '' end

local function has_answer(turn) return turn.state == 'answered' or turn.state == 'delivering' end

-- Something may be seen that no checkpoint tells of. `unseen` is the fence of the last claim that was given back with
-- nothing to be seen.
local function may_be_seen(turn) return tonumber(turn.claims) > 0 and turn.unseen ~= turn.fence end

-- Leaves the end of a turn of which something is or may be seen to whoever works on it, or to the next claim. For an
-- answer that has begun it is too late. Tells whether there was anything to do.
local function withdraw(turn)
  if not turn or turn.ended or turn.state == 'withdrawn' then return false end
  if is_begun(turn) and has_answer(turn) then return false end
  if is_begun(turn) or may_be_seen(turn) then
    local due = has_answer(turn) and turn.due or int(clock)
    call('HSET', row(turn.seq), 'state', 'withdrawn', 'attempts', 0, 'due', due)
    if turn.head then index(turn) end
  else
    end_as(turn, 'withdrawn')
  end
  return true
end

-- Channel; ids.
function ops.withdraw()
  local withdrawn = {}
  for at = 2, given do
    if withdraw(find(arg(1), arg(at))) then withdrawn[#withdrawn + 1] = arg(at) end
  end
  return withdrawn
end

-- Turns whose leases have ended are due as they were. Their rows keep the lease until somebody claims them.
local function end_leases()
  for _, seq in ipairs(call('ZRANGEBYSCORE', base .. 'leased', '-inf', int(clock))) do
    local turn = read(seq)
    call('ZREM', base .. 'leased', seq)
    if turn then
      call('ZADD', base .. 'due:' .. turn.lane, turn.due, seq)
      settle(turn.lane)
    end
  end
end

-- The last claim of this node whose answer did not reach it: the turn is free again.
local function release_unheard(heard)
  local last = call('GET', base .. 'last:' .. node)
  if not last or last == heard then return end
  local seq, fence = string.match(last, '^(%d+) (%d+)$')
  local turn = held(seq, fence)
  if turn then
    call('HDEL', row(seq), 'lease')
    index(turn)
  end
end

-- The channels that have as many turns leased as the pairs from there on allow.
local function full_channels(from)
  local left, full = {}, {}
  for at = from, given do
    local turns, channel = string.match(arg(at), '^(%d+) (.*)$')
    left[channel] = tonumber(turns)
  end
  for _, seq in ipairs(call('ZRANGEBYSCORE', base .. 'leased', '(' .. int(clock), '+inf')) do
    local channel = call('HGET', row(seq), 'channel')
    if channel and left[channel] then left[channel] = left[channel] - 1 end
  end
  for channel, turns in pairs(left) do full[channel] = turns < 1 end
  return full
end

-- Whether this node may claim there now. What is kept for a node is anybody's when the node is gone.
local function is_open(lane, full)
  local home, channel = string.match(lane, '^(%w*):(.*)$')
  if full[channel] then return false end
  return home == '' or home == node or call('EXISTS', base .. 'node:' .. home) == 0
end

-- The turn that was due first, and when; of two the one that came first.
local function next_turn(full)
  local lanes = call('ZRANGE', base .. 'lanes', 0, -1, 'WITHSCORES')
  local found, due
  for at = 1, #lanes, 2 do
    local score = tonumber(lanes[at + 1])
    if score > clock or (due and score > due) then break end
    if is_open(lanes[at], full) then
      local first = call('ZRANGE', base .. 'due:' .. lanes[at], 0, 0)[1]
      if not found or first < found then found, due = first, score end
    end
  end
  return found, due
end

-- The claim that was heard of last; then each channel that has a bound.
function ops.peek()
  release_unheard(arg(1))
  end_leases()
  local seq, due = next_turn(full_channels(2))
  return seq and { int(due), seq } or false
end

-- The claim that was heard of last, milliseconds of the lease; then each channel that has a bound.
function ops.claim()
  release_unheard(arg(1))
  end_leases()
  stirs = false
  local seq = next_turn(full_channels(3))
  if not seq then return false end
  local turn, key = read(seq), row(seq)
  local fence, claims = call('HINCRBY', key, 'fence', 1), call('HINCRBY', key, 'claims', 1)
  call('HSET', key, 'lease', int(clock + tonumber(arg(2))))
  if turn.state == 'received' then call('HSET', key, 'state', 'generating') end
  if has_answer(turn) then call('HDEL', key, 'hold') end
  index(turn)
  if call('HEXISTS', key, 'reply') == 0 then let_go(turn) end
  call('SET', base .. 'last:' .. node, seq .. ' ' .. fence, 'EX', LAST_CLAIM_LIFE)
  local kept = call('HMGET', key, 'channel', 'id', 'request', 'message', 'address', 'reply', 'checkpoint',
    'received', 'attempts', 'hold')
  return {
    { seq, fence, claims, kept[9] },
    { kept[1], kept[2], kept[3] },
    { kept[4], kept[5], kept[6], kept[7] },
    { theirs(kept[8]), turn.state == 'withdrawn' and 1 or 0, kept[10] and 1 or 0, may_be_seen(turn) and 1 or 0 },
  }
end

-- From here on: turn and fence come first.

function ops.renew()
  local turn = held(arg(1), arg(2))
  if not turn then return lost() end
  call('HSET', row(turn.seq), 'lease', int(ours(arg(3))))
  index(turn)
  return 1
end

-- How many at most. Tells of each message that waits: channel, id, message, address, when it came, whether it is
-- gathered, whether it is held.
function ops.behind()
  local turn, waiting = held(arg(1), arg(2)), {}
  if not turn then return waiting end
  local queue = base .. 'q:' .. place_of(turn.channel, turn.conversation)
  for _, seq in ipairs(call('ZRANGEBYSCORE', queue, '(' .. turn.seq, '+inf', 'LIMIT', 0, arg(3))) do
    local kept = call('HMGET', row(seq), 'id', 'message', 'address', 'received', 'state', 'hold')
    if kept[5] ~= 'withdrawn' then
      waiting[#waiting + 1] = {
        turn.channel, kept[1], kept[2], kept[3], theirs(kept[4]), kept[5] == 'generating' and 1 or 0,
        kept[6] and 1 or 0,
      }
    end
  end
  return waiting
end

-- Ids.
function ops.gather()
  local turn = held(arg(1), arg(2))
  if not turn then return lost() end
  let_go(turn)
  for at = 3, given do
    local other = find(turn.channel, arg(at))
    local is_behind = other and other.conversation == turn.conversation and other.seq > turn.seq
    if is_behind and other.state == 'received' and not other.head then
      call('HSET', row(other.seq), 'state', 'generating')
      call('ZADD', base .. 'g:' .. turn.seq, other.seq, other.seq)
    end
  end
  return 1
end

-- The reply. Tells until when the turn is held, if it is.
function ops.answer()
  local turn = held(arg(1), arg(2))
  if not turn or turn.state == 'withdrawn' then return lost() end
  local key, hold = row(turn.seq), tonumber(turn.hold)
  local is_held = hold and hold > clock
  call('HSET', key, 'state', 'answered', 'attempts', 0, 'reply', arg(3), 'due', int(is_held and hold or clock))
  call('HDEL', key, 'reason', is_held and 'lease' or 'hold')
  if is_held then call('HSET', key, 'unseen', turn.fence) end
  index(turn)
  return is_held and theirs(hold) or false
end

function ops.checkpoint()
  local turn = held(arg(1), arg(2))
  if not turn then return lost() end
  local key = row(turn.seq)
  call('HSET', key, 'checkpoint', arg(3))
  if call('HEXISTS', key, 'reply') == 1 then call('HSET', key, 'state', 'delivering') end
  return 1
end

function ops.give_up()
  local turn = held(arg(1), arg(2))
  if not turn then return lost() end
  call('HDEL', row(turn.seq), 'reply')
  return 1
end

-- When it is due again, whether something may be seen of it; why the attempt failed, if it did.
function ops.postpone()
  local turn = held(arg(1), arg(2))
  if not turn then return lost() end
  local key = row(turn.seq)
  call('HDEL', key, 'lease')
  call('HSET', key, 'due', int(ours(arg(3))))
  if arg(4) == '0' then call('HSET', key, 'unseen', turn.fence) end
  if given >= 5 then
    call('HINCRBY', key, 'attempts', 1)
    call('HSET', key, 'reason', arg(5))
  end
  index(turn)
  return 1
end

-- How it ended, the reason, the receipt, what was said.
function ops.finish()
  local turn = held(arg(1), arg(2))
  if not turn then return lost() end
  local state = arg(3)
  if state == 'dead' then call('HSET', row(turn.seq), 'reason', arg(4)) end
  if state == 'dead' and turn.state == 'withdrawn' then state = turn.state end
  if state == 'delivered' then
    call('HSET', row(turn.seq), 'receipt', arg(5))
    remember(turn, arg(6))
  end
  if state ~= 'withdrawn' then end_gathered(turn, state) end
  end_as(turn, state)
  return 1
end

-- From here on: channel and message id come first.

-- Fields of the row.
function ops.look()
  local seq = call('HGET', base .. 'ids:' .. arg(1), arg(2))
  if not seq then return false end
  local wanted = {}
  for at = 3, given do wanted[#wanted + 1] = arg(at) end
  return call('HMGET', row(seq), unpack(wanted))
end

local function forget_turn(seq, channel, id)
  if call('HGET', base .. 'ids:' .. channel, id) == seq then call('HDEL', base .. 'ids:' .. channel, id) end
  call('DEL', row(seq))
end

function ops.discard()
  local turn = find(arg(1), arg(2))
  if not turn or turn.ended then return 0 end
  leave(turn)
  forget_turn(turn.seq, turn.channel, turn.id)
  return 1
end

-- What was said. Tells whether it ended, or 2 if somebody delivers it.
function ops.hand_over()
  local turn = find(arg(1), arg(2))
  if not turn or turn.ended or not has_answer(turn) then return 0 end
  if turn.lease and tonumber(turn.lease) > clock then return 2 end
  remember(turn, arg(3))
  end_gathered(turn, 'delivered')
  end_as(turn, 'delivered')
  return 1
end

-- When it is due; the checkpoint.
function ops.release_hold()
  local turn = find(arg(1), arg(2))
  if not turn or turn.ended or not turn.hold then return 0 end
  local key, due = row(turn.seq), int(ours(arg(3)))
  call('HSET', key, 'hold', due, 'checkpoint', arg(4))
  if has_answer(turn) then
    call('HSET', key, 'due', due)
    index(turn)
  end
  return 1
end

-- Channel and conversation come first; how many exchanges.
function ops.history()
  if arg(3) == '0' then return {} end
  return call('LRANGE', base .. 'h:' .. place_of(arg(1), arg(2)), '-' .. arg(3), -1)
end

function ops.address()
  local known = call('HMGET', base .. 'to:' .. place_of(arg(1), arg(2)), 'id', 'address')
  return known[1] and known or false
end

local function forget_history(channel, conversation)
  local place = place_of(channel, conversation)
  call('ZREM', base .. 'threads:' .. channel, place)
  return call('DEL', base .. 'h:' .. place)
end

function ops.forget() return forget_history(arg(1), arg(2)) end

-- Full channels.
function ops.next_due()
  local full, soonest = full_channels(1), nil
  local lanes = call('ZRANGE', base .. 'lanes', 0, -1, 'WITHSCORES')
  for at = 1, #lanes, 2 do
    if is_open(lanes[at], full) then
      soonest = tonumber(lanes[at + 1])
      break
    end
  end
  local leased = call('ZRANGE', base .. 'leased', 0, -1, 'WITHSCORES')
  for at = 1, #leased, 2 do
    local score = tonumber(leased[at + 1])
    if soonest and score >= soonest then break end
    local lane = call('HGET', row(leased[at]), 'lane')
    if lane and is_open(lane, full) then soonest = score end
  end
  return soonest and theirs(soonest) or false
end

-- Of each channel: unfinished turns, dead ones, when the oldest unfinished one came in.
function ops.queues()
  local queues = {}
  for _, channel in ipairs(call('SMEMBERS', base .. 'channels')) do
    local oldest = call('ZRANGE', base .. 'open:' .. channel, 0, 0, 'WITHSCORES')[2]
    queues[#queues + 1] = {
      channel, call('ZCARD', base .. 'open:' .. channel), call('ZCARD', base .. 'dead:' .. channel),
      oldest and theirs(oldest) or false,
    }
  end
  return queues
end

-- Deletes turns that ended before, and dead ones that ended before another time; how many of each at most.
function ops.sweep_turns()
  local deleted = 0
  for from, before in pairs({ ended = arg(1), died = arg(2) }) do
    local old = call('ZRANGEBYSCORE', base .. from, '-inf', '(' .. int(ours(before)), 'LIMIT', 0, arg(3))
    for _, seq in ipairs(old) do
      local turn = read(seq)
      call('ZREM', base .. from, seq)
      if turn then
        call('ZREM', base .. 'dead:' .. turn.channel, seq)
        forget_turn(seq, turn.channel, turn.id)
      end
    end
    deleted = deleted + #old
  end
  return deleted
end

-- Deletes addresses whose last message came before; how many at most.
function ops.sweep_addresses()
  local old = call('ZRANGEBYSCORE', base .. 'to', '-inf', '(' .. int(ours(arg(1))), 'LIMIT', 0, arg(2))
  for _, place in ipairs(old) do
    call('DEL', base .. 'to:' .. place)
    call('ZREM', base .. 'to', place)
  end
  return #old
end

-- Milliseconds for which this node is known to live, if it says no more.
function ops.live()
  call('SET', base .. 'node:' .. node, 1, 'PX', arg(1))
  return 1
end
