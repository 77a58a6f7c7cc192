-- What people are signed in to the console by, and codes to sign in with once: sealed, and of no use without what their browser
-- has (docs/console.md). No part of the record.
CREATE TABLE console_sessions (
    id TEXT NOT NULL PRIMARY KEY,
    sealed TEXT NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT;

CREATE INDEX console_sessions_ends_at ON console_sessions (ends_at);
