-- The record: tasks, their attempts, the files of their traces, and the audit log (docs: contract, database).
-- Times are microseconds since 1970 UTC. JSON is text: it may hold \u0000, which jsonb does not take.

CREATE TABLE tasks (
    id                    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    trace_id              TEXT    NOT NULL,
    namespace             TEXT    NOT NULL,
    name                  TEXT    NOT NULL,
    uid                   TEXT    NOT NULL,
    submitted_by          TEXT,
    version               TEXT    NOT NULL,
    idempotency_key       TEXT,
    requested_by_kind     TEXT    NOT NULL,
    requested_by_id       TEXT    NOT NULL,
    requested_by_label    TEXT,
    objective             TEXT    NOT NULL,
    operation             TEXT    NOT NULL,
    target_repo           TEXT    NOT NULL,
    target_ref            TEXT    NOT NULL,
    target_path           TEXT    NOT NULL,
    time_budget_seconds   BIGINT  NOT NULL,
    allow_network         BOOLEAN NOT NULL,
    allow_secrets         BOOLEAN NOT NULL,
    inputs                TEXT    NOT NULL,
    metadata              TEXT    NOT NULL,
    acceptance_criteria   TEXT    NOT NULL,
    evidence_requirements TEXT    NOT NULL,
    executor              TEXT,
    max_attempts          BIGINT  NOT NULL,
    create_cwom           BOOLEAN NOT NULL,
    status                TEXT    NOT NULL,
    attempt               BIGINT  NOT NULL,
    attempt_ended_at      BIGINT,
    job_name              TEXT,
    source_commit         TEXT,
    created_at            BIGINT  NOT NULL,
    recorded_at           BIGINT  NOT NULL,
    queued_at             BIGINT,
    started_at            BIGINT,
    completed_at          BIGINT,
    assigned_to           TEXT,
    result                TEXT,
    error                 TEXT,
    trace_path            TEXT,
    manifest_sha256       TEXT,
    trace_files           BIGINT,
    cwom_issue_id         TEXT,
    deleted_at            BIGINT
);

CREATE UNIQUE INDEX tasks_idempotency_key ON tasks (namespace, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX tasks_status ON tasks (status, id);
CREATE INDEX tasks_namespace ON tasks (namespace, id);
CREATE INDEX tasks_operation ON tasks (operation, id);
CREATE INDEX tasks_requester_kind ON tasks (requested_by_kind, id);
CREATE INDEX tasks_target_repo ON tasks (target_repo, id);
CREATE INDEX tasks_trace_id ON tasks (trace_id);
CREATE INDEX tasks_unfinished ON tasks (id)
    WHERE deleted_at IS NULL AND status IN ('pending', 'queued', 'running');

CREATE TABLE jobs (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    task_id         TEXT COLLATE "C" NOT NULL REFERENCES tasks (id),
    trace_id        TEXT    NOT NULL,
    attempt         BIGINT  NOT NULL,
    job_name        TEXT    NOT NULL,
    status          TEXT    NOT NULL,
    worker_id       TEXT,
    source_commit   TEXT,
    created_at      BIGINT  NOT NULL,
    started_at      BIGINT,
    ended_at        BIGINT,
    exit_code       BIGINT,
    trace_path      TEXT,
    manifest_sha256 TEXT,
    trace_files     BIGINT,
    trace_complete  BOOLEAN,
    result          TEXT,
    error           TEXT,
    UNIQUE (task_id, attempt)
);

CREATE INDEX jobs_trace_id ON jobs (trace_id);

CREATE TABLE artifacts (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    task_id      TEXT COLLATE "C" NOT NULL REFERENCES tasks (id),
    job_id       TEXT COLLATE "C" NOT NULL REFERENCES jobs (id),
    trace_id     TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    uri          TEXT COLLATE "C" NOT NULL,
    content_type TEXT    NOT NULL,
    size_bytes   BIGINT  NOT NULL,
    checksum     TEXT    NOT NULL,
    created_at   BIGINT  NOT NULL,
    UNIQUE (job_id, uri)
);

CREATE INDEX artifacts_task_id ON artifacts (task_id);
CREATE INDEX artifacts_trace_id ON artifacts (trace_id);

-- Append-only. Each entry's hash covers all its columns and the hash of the entry before it (src/store/audit/chain.rs).
CREATE TABLE audit_log (
    seq         BIGINT  NOT NULL PRIMARY KEY,
    id          TEXT COLLATE "C" NOT NULL UNIQUE,
    ts          BIGINT  NOT NULL,
    actor_kind  TEXT    NOT NULL,
    actor_id    TEXT    NOT NULL,
    action      TEXT    NOT NULL,
    entity_kind TEXT    NOT NULL,
    entity_id   TEXT    NOT NULL,
    before      TEXT,
    after       TEXT,
    note        TEXT,
    trace_id    TEXT    NOT NULL,
    prev_hash   TEXT    NOT NULL,
    hash        TEXT    NOT NULL
);

CREATE INDEX audit_log_ts ON audit_log (ts);
CREATE INDEX audit_log_actor_id ON audit_log (actor_id);
CREATE INDEX audit_log_action ON audit_log (action);
CREATE INDEX audit_log_entity_kind ON audit_log (entity_kind);
CREATE INDEX audit_log_entity_id ON audit_log (entity_id);
CREATE INDEX audit_log_trace_id ON audit_log (trace_id);
CREATE INDEX audit_log_entity ON audit_log (entity_kind, entity_id);
CREATE INDEX audit_log_actor ON audit_log (actor_kind, actor_id);
CREATE INDEX audit_log_ts_action ON audit_log (ts, action);
CREATE INDEX audit_log_entity_ts ON audit_log (entity_kind, entity_id, ts);

CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'audit_log is append-only'; END $$;

CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE ON audit_log
FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only();

CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();

-- The last entry of the chain. Entries removed from its end are missed here.
CREATE TABLE audit_head (
    id   BIGINT  NOT NULL PRIMARY KEY CHECK (id = 1),
    seq  BIGINT  NOT NULL,
    hash TEXT    NOT NULL
);

INSERT INTO audit_head (id, seq, hash)
VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- Written to by readiness probes, to see whether writing works.
CREATE TABLE store_probe (
    id        BIGINT  NOT NULL PRIMARY KEY CHECK (id = 1),
    probed_at BIGINT  NOT NULL
);

INSERT INTO store_probe (id, probed_at) VALUES (1, 0);
