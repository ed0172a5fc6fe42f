-- What all operations share. The files of this folder are one script, in the order of `script.rs`.
--
-- KEYS[1] is a hash tag, such as `{parlor:3}`, and begins the name of every key that is touched, so that one
-- node of a Cluster has them all. ARGV: the operation, the caller's clock, the moment after which nobody waits
-- for this any more, whose clock counts, the caller's node; then what the operation is told.
local call = redis.call
local base = KEYS[1] .. ':'
local node = ARGV[5]
local given = #ARGV - 5
local function arg(number) return ARGV[number + 5] end

-- Whole numbers as text: Lua's own form of long ones is not exact.
local function int(number) return string.format('%.0f', number) end

local moment = call('TIME')
local micros = tonumber(moment[1]) * 1000000 + tonumber(moment[2])
local real = math.floor(micros / 1000)
-- A command that a broken line brings after its time would undo what was done since.
if real > tonumber(ARGV[3]) then return redis.error_reply('LATE ' .. int(real)) end

-- Times are kept by this server's clock. What a caller says or is told is moved by as much as his clock is off.
local told = tonumber(ARGV[2])
local by_caller = ARGV[4] == 'caller'
local clock = by_caller and told or real
local skew = clock - told
local function ours(time) return tonumber(time) + skew end
local function theirs(time) return int(tonumber(time) - skew) end

-- Set if there is something to claim that was not there before: other nodes are told.
local stirs = false
local ops = {}
