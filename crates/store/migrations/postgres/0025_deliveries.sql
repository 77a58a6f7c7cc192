-- What is delivered to forges, and how far that is (docs/delivery.md): a row for each attempt that made a change which is to be.
CREATE TABLE deliveries (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    task_id TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    pack_id TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    phase TEXT COLLATE "C" NOT NULL,
    due_at BIGINT,
    delivery TEXT NOT NULL,
    UNIQUE (task_id, attempt)
);

CREATE INDEX deliveries_pack_id ON deliveries (pack_id);
CREATE INDEX deliveries_due_at ON deliveries (due_at);
