-- Where the last message of each conversation said that replies go. Kept by a trigger, so that an earlier parlor keeps
-- it as well. Messages of the host's own doors have none: their seal, of 29 bytes, holds nothing.
CREATE TABLE address (
  channel TEXT NOT NULL,
  conversation TEXT NOT NULL,
  -- The message that it came with, which its seal is bound to.
  message_id TEXT NOT NULL,
  address BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (channel, conversation)
) STRICT, WITHOUT ROWID;
CREATE INDEX address_oldest ON address (at);
INSERT INTO address
  SELECT channel, conversation, message_id, address, received_at FROM inbox WHERE seq IN
    (SELECT max(seq) FROM inbox WHERE length(address) > 29 GROUP BY channel, conversation);

CREATE TRIGGER address_is_known AFTER INSERT ON inbox WHEN length(new.address) > 29 BEGIN
  INSERT INTO address VALUES (new.channel, new.conversation, new.message_id, new.address, new.received_at)
    ON CONFLICT (channel, conversation)
    DO UPDATE SET message_id = excluded.message_id, address = excluded.address, at = excluded.at;
END;
