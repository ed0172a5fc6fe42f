-- One row a message. `ended_at` is null as long as its turn is unfinished.
CREATE TABLE inbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  channel TEXT NOT NULL,
  message_id TEXT NOT NULL,
  conversation TEXT NOT NULL,
  message TEXT NOT NULL,
  -- Where the reply goes, sealed by the host's key.
  address BLOB NOT NULL,
  request_id TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'received'
    CHECK (state IN ('received', 'generating', 'answered', 'delivering', 'delivered', 'dead', 'withdrawn')),
  -- The oldest unfinished turn of its conversation: the only one that may be claimed.
  head INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  -- Somebody waits on the line until then; null once the delivery was released or claimed.
  hold_until INTEGER,
  lease_until INTEGER,
  fence INTEGER NOT NULL DEFAULT 0,
  claims INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0,
  -- Why it died, or why the last attempt failed.
  reason TEXT,
  ended_at INTEGER,
  UNIQUE (channel, message_id)
) STRICT;

-- Partial, so that finished turns cost a claim nothing.
CREATE INDEX inbox_heads ON inbox (due_at) WHERE head = 1;
CREATE INDEX inbox_leased ON inbox (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX inbox_unfinished ON inbox (channel, conversation, seq, received_at) WHERE ended_at IS NULL;
CREATE INDEX inbox_ended ON inbox (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX inbox_dead ON inbox (seq) WHERE state = 'dead';

-- What a turn's delivery needs. `reply` is null as long as there is but a checkpoint.
CREATE TABLE outbox (
  turn INTEGER PRIMARY KEY REFERENCES inbox (seq) ON DELETE CASCADE,
  reply TEXT,
  checkpoint BLOB NOT NULL DEFAULT x'',
  answered_at INTEGER,
  -- The platform's ids of what was sent, as JSON.
  receipt TEXT
) STRICT;

-- An exchange is the utterances of one turn. Turns of a conversation end in order, so their numbers sort.
CREATE TABLE history (
  channel TEXT NOT NULL,
  conversation TEXT NOT NULL,
  turn INTEGER NOT NULL,
  part INTEGER NOT NULL,
  utterance TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (channel, conversation, turn, part)
) STRICT, WITHOUT ROWID;

-- The small memories of plugins.
CREATE TABLE memory (
  space TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  expires_at INTEGER,
  PRIMARY KEY (space, key)
) STRICT;
CREATE INDEX memory_expires ON memory (expires_at) WHERE expires_at IS NOT NULL;

-- What the file must be able to prove about itself: `seal` opens with the key that seals the addresses.
CREATE TABLE proof (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT;
