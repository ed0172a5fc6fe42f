-- Turns whose last claim was given back, and that show nothing but what their checkpoint tells of. Of any other that was
-- ever claimed something may be seen, also of one that an earlier parlor gave back.
CREATE TABLE unseen (
  turn INTEGER PRIMARY KEY REFERENCES inbox (seq) ON DELETE CASCADE
) STRICT;
