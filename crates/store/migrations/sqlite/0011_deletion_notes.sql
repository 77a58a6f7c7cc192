-- Who asked for the deletion of which object, from the webhook of any replica for the one that records deletions. Each is under
-- a seal of the installation, and goes when the deletion is recorded, or after a week; vouched_for is 1 where an API server that
-- showed its certificate said so.
CREATE TABLE deletion_notes (
    uid         TEXT NOT NULL,
    vouched_for INTEGER NOT NULL,
    user_name   TEXT NOT NULL,
    namespace   TEXT NOT NULL,
    noted_at    INTEGER NOT NULL,
    seal        TEXT NOT NULL,
    PRIMARY KEY (uid, vouched_for, user_name)
) STRICT;

CREATE INDEX deletion_notes_noted_at ON deletion_notes (vouched_for, noted_at);
