-- What is delivered to forges, and how far that is (docs/delivery.md): a row for each attempt that made a change which is to be.
CREATE TABLE deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    task_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    pack_id TEXT NOT NULL,
    namespace TEXT NOT NULL,
    phase TEXT NOT NULL,
    due_at INTEGER,
    delivery TEXT NOT NULL,
    UNIQUE (task_id, attempt)
) STRICT;

CREATE INDEX deliveries_pack_id ON deliveries (pack_id);
CREATE INDEX deliveries_due_at ON deliveries (due_at);
