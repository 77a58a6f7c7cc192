-- What is delivered to forges, and how far that is (docs/delivery.md): a row for each attempt that made a change which is to be.
CREATE TABLE deliveries (
    id {ordered_text} NOT NULL PRIMARY KEY,
    task_id {ordered_text} NOT NULL,
    attempt {number} NOT NULL,
    pack_id {ordered_text} NOT NULL,
    namespace {ordered_text} NOT NULL,
    phase {ordered_text} NOT NULL,
    due_at {number},
    delivery TEXT NOT NULL,
    UNIQUE (task_id, attempt)
);

CREATE INDEX deliveries_pack_id ON deliveries (pack_id);
CREATE INDEX deliveries_due_at ON deliveries (due_at);
