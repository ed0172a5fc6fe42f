-- Turns whose last claim was given back, and that show nothing but what their checkpoint tells of. Of any other that was
-- ever claimed something may be seen, also where an earlier parlor had the claim: it counts the fence, and knows no more.
CREATE TABLE unseen (
  turn INTEGER PRIMARY KEY REFERENCES inbox (seq) ON DELETE CASCADE,
  -- Of that claim.
  fence INTEGER NOT NULL
) STRICT;
