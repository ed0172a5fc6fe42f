-- Conversations that have a history, for whoever looks for one. Kept by triggers, so that an earlier parlor keeps
-- it as well.
CREATE TABLE conversation (
  channel TEXT NOT NULL,
  conversation TEXT NOT NULL,
  last_at INTEGER NOT NULL,
  exchanges INTEGER NOT NULL,
  PRIMARY KEY (channel, conversation)
) STRICT, WITHOUT ROWID;
CREATE INDEX conversation_latest ON conversation (last_at, channel, conversation);
INSERT INTO conversation
  SELECT channel, conversation, max(at), count(DISTINCT turn) FROM history GROUP BY channel, conversation;

CREATE TRIGGER history_grows AFTER INSERT ON history WHEN new.part = 0 BEGIN
  INSERT INTO conversation VALUES (new.channel, new.conversation, new.at, 1)
    ON CONFLICT (channel, conversation)
    DO UPDATE SET last_at = max(last_at, excluded.last_at), exchanges = exchanges + 1;
END;
CREATE TRIGGER history_shrinks AFTER DELETE ON history WHEN old.part = 0 BEGIN
  UPDATE conversation SET exchanges = exchanges - 1
    WHERE channel = old.channel AND conversation = old.conversation;
  DELETE FROM conversation
    WHERE channel = old.channel AND conversation = old.conversation AND exchanges < 1;
END;

-- What operators did. `proof` has the last entry that was swept, as `audit`.
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  act TEXT NOT NULL,
  target TEXT NOT NULL,
  hash BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN
  SELECT raise(ABORT, 'the audit is append-only');
END;
CREATE TRIGGER audit_goes_from_its_old_end BEFORE DELETE ON audit
  WHEN old.seq > (SELECT min(seq) FROM audit) BEGIN
  SELECT raise(ABORT, 'the audit is append-only');
END;

-- Tokens that count no more.
CREATE TABLE revoked (
  token TEXT PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT;
