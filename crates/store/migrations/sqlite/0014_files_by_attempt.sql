-- The files of an attempt lie together, by their uris: no index besides.
CREATE TABLE artifacts_by_attempt (
    id           TEXT    NOT NULL,
    task_id      TEXT    NOT NULL,
    job_id       TEXT    NOT NULL REFERENCES jobs (id),
    trace_id     TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    uri          TEXT    NOT NULL,
    content_type TEXT    NOT NULL,
    size_bytes   INTEGER NOT NULL,
    checksum     TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (job_id, uri)
) STRICT, WITHOUT ROWID;

INSERT INTO artifacts_by_attempt
    (id, task_id, job_id, trace_id, kind, uri, content_type, size_bytes, checksum, created_at)
SELECT id, task_id, job_id, trace_id, kind, uri, content_type, size_bytes, checksum, created_at
FROM artifacts ORDER BY job_id, uri;

DROP TABLE artifacts;
ALTER TABLE artifacts_by_attempt RENAME TO artifacts;
