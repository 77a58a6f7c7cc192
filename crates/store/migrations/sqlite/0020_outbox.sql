-- What is to be told to receivers of notifications (docs/notifications.md): a row for each event and receiver, from the transaction
-- that records what the event tells of until the receiver has it, or is given up.
CREATE TABLE outbox (
    receiver TEXT NOT NULL,
    event_id TEXT NOT NULL,
    event TEXT NOT NULL,
    written_at INTEGER NOT NULL,
    PRIMARY KEY (receiver, event_id)
) STRICT;
