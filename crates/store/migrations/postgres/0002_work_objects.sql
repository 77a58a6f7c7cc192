-- Work objects (contract section 2): one table for each kind, one for each kind of link. The object is JSON in `spec`; columns
-- beside it are what is searched for, and what must be unique. `names` is what the names of a custom resource stand for.
-- `task_id` is no foreign key: without an index of its own, SQLite would read whole tables for each new Task.

CREATE TABLE cwom_repos (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    trace_id     TEXT NOT NULL,
    namespace    TEXT NOT NULL,
    name         TEXT,
    uid          TEXT,
    submitted_by TEXT,
    task_id      TEXT COLLATE "C",
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    recorded_at  BIGINT NOT NULL,
    deleted_at   BIGINT,
    names        TEXT NOT NULL,
    spec         TEXT NOT NULL,
    slug         TEXT NOT NULL,
    visibility   TEXT NOT NULL
);

CREATE INDEX cwom_repos_namespace ON cwom_repos (namespace, id);
CREATE INDEX cwom_repos_name ON cwom_repos (namespace, name) WHERE name IS NOT NULL;
CREATE INDEX cwom_repos_trace_id ON cwom_repos (trace_id);
CREATE UNIQUE INDEX cwom_repos_slug ON cwom_repos (namespace, slug) WHERE deleted_at IS NULL;
CREATE INDEX cwom_repos_visibility ON cwom_repos (visibility, id);

CREATE TABLE cwom_issues (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    trace_id     TEXT NOT NULL,
    namespace    TEXT NOT NULL,
    name         TEXT,
    uid          TEXT,
    submitted_by TEXT,
    task_id      TEXT COLLATE "C",
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    recorded_at  BIGINT NOT NULL,
    deleted_at   BIGINT,
    names        TEXT NOT NULL,
    spec         TEXT NOT NULL,
    repo_id      TEXT COLLATE "C" NOT NULL REFERENCES cwom_repos (id),
    status       TEXT NOT NULL,
    type         TEXT NOT NULL,
    priority     TEXT NOT NULL
);

CREATE INDEX cwom_issues_namespace ON cwom_issues (namespace, id);
CREATE INDEX cwom_issues_name ON cwom_issues (namespace, name) WHERE name IS NOT NULL;
CREATE INDEX cwom_issues_trace_id ON cwom_issues (trace_id);
CREATE INDEX cwom_issues_repo_id ON cwom_issues (repo_id, id);
CREATE INDEX cwom_issues_status ON cwom_issues (status, id);
CREATE INDEX cwom_issues_type ON cwom_issues (type, id);
CREATE INDEX cwom_issues_priority ON cwom_issues (priority, id);

CREATE TABLE cwom_context_packets (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    trace_id     TEXT NOT NULL,
    namespace    TEXT NOT NULL,
    name         TEXT,
    uid          TEXT,
    submitted_by TEXT,
    task_id      TEXT COLLATE "C",
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    recorded_at  BIGINT NOT NULL,
    deleted_at   BIGINT,
    names        TEXT NOT NULL,
    spec         TEXT NOT NULL,
    issue_id     TEXT COLLATE "C" NOT NULL REFERENCES cwom_issues (id)
);

CREATE INDEX cwom_context_packets_namespace ON cwom_context_packets (namespace, id);
CREATE INDEX cwom_context_packets_name ON cwom_context_packets (namespace, name) WHERE name IS NOT NULL;
CREATE INDEX cwom_context_packets_trace_id ON cwom_context_packets (trace_id);
CREATE INDEX cwom_context_packets_issue_id ON cwom_context_packets (issue_id, id);

CREATE TABLE cwom_constraint_snapshots (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    trace_id     TEXT NOT NULL,
    namespace    TEXT NOT NULL,
    name         TEXT,
    uid          TEXT,
    submitted_by TEXT,
    task_id      TEXT COLLATE "C",
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    recorded_at  BIGINT NOT NULL,
    deleted_at   BIGINT,
    names        TEXT NOT NULL,
    spec         TEXT NOT NULL,
    scope        TEXT NOT NULL
);

CREATE INDEX cwom_constraint_snapshots_namespace ON cwom_constraint_snapshots (namespace, id);
CREATE INDEX cwom_constraint_snapshots_name ON cwom_constraint_snapshots (namespace, name) WHERE name IS NOT NULL;
CREATE INDEX cwom_constraint_snapshots_trace_id ON cwom_constraint_snapshots (trace_id);
CREATE INDEX cwom_constraint_snapshots_scope ON cwom_constraint_snapshots (scope, id);

CREATE TABLE cwom_doctrine_refs (
    id                 TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    trace_id           TEXT NOT NULL,
    namespace          TEXT NOT NULL,
    name               TEXT,
    uid                TEXT,
    submitted_by       TEXT,
    task_id            TEXT COLLATE "C",
    created_at         BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL,
    recorded_at        BIGINT NOT NULL,
    deleted_at         BIGINT,
    names              TEXT NOT NULL,
    spec               TEXT NOT NULL,
    doctrine_namespace TEXT NOT NULL,
    doctrine_name      TEXT NOT NULL,
    version            TEXT NOT NULL,
    type               TEXT NOT NULL,
    priority           TEXT NOT NULL
);

CREATE INDEX cwom_doctrine_refs_namespace ON cwom_doctrine_refs (namespace, id);
CREATE INDEX cwom_doctrine_refs_name ON cwom_doctrine_refs (namespace, name) WHERE name IS NOT NULL;
CREATE INDEX cwom_doctrine_refs_trace_id ON cwom_doctrine_refs (trace_id);
CREATE UNIQUE INDEX cwom_doctrine_refs_version
    ON cwom_doctrine_refs (namespace, doctrine_namespace, doctrine_name, version) WHERE deleted_at IS NULL;
CREATE INDEX cwom_doctrine_refs_doctrine_namespace ON cwom_doctrine_refs (doctrine_namespace, id);
CREATE INDEX cwom_doctrine_refs_type ON cwom_doctrine_refs (type, id);
CREATE INDEX cwom_doctrine_refs_priority ON cwom_doctrine_refs (priority, id);

CREATE TABLE cwom_runs (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    trace_id     TEXT NOT NULL,
    namespace    TEXT NOT NULL,
    name         TEXT,
    uid          TEXT,
    submitted_by TEXT,
    task_id      TEXT COLLATE "C",
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    recorded_at  BIGINT NOT NULL,
    deleted_at   BIGINT,
    names        TEXT NOT NULL,
    spec         TEXT NOT NULL,
    issue_id     TEXT COLLATE "C" NOT NULL REFERENCES cwom_issues (id),
    repo_id      TEXT COLLATE "C" NOT NULL REFERENCES cwom_repos (id),
    status       TEXT NOT NULL,
    mode         TEXT NOT NULL
);

CREATE INDEX cwom_runs_namespace ON cwom_runs (namespace, id);
CREATE INDEX cwom_runs_name ON cwom_runs (namespace, name) WHERE name IS NOT NULL;
CREATE INDEX cwom_runs_trace_id ON cwom_runs (trace_id);
CREATE INDEX cwom_runs_issue_id ON cwom_runs (issue_id, id);
CREATE INDEX cwom_runs_repo_id ON cwom_runs (repo_id, id);
CREATE INDEX cwom_runs_status ON cwom_runs (status, id);
CREATE INDEX cwom_runs_mode ON cwom_runs (mode, id);

CREATE TABLE cwom_artifacts (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    trace_id     TEXT NOT NULL,
    namespace    TEXT NOT NULL,
    name         TEXT,
    uid          TEXT,
    submitted_by TEXT,
    task_id      TEXT COLLATE "C",
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    recorded_at  BIGINT NOT NULL,
    deleted_at   BIGINT,
    names        TEXT NOT NULL,
    spec         TEXT NOT NULL,
    run_id       TEXT COLLATE "C" NOT NULL REFERENCES cwom_runs (id),
    issue_id     TEXT COLLATE "C" NOT NULL REFERENCES cwom_issues (id),
    type         TEXT NOT NULL
);

CREATE INDEX cwom_artifacts_namespace ON cwom_artifacts (namespace, id);
CREATE INDEX cwom_artifacts_name ON cwom_artifacts (namespace, name) WHERE name IS NOT NULL;
CREATE INDEX cwom_artifacts_trace_id ON cwom_artifacts (trace_id);
CREATE INDEX cwom_artifacts_run_id ON cwom_artifacts (run_id, id);
CREATE INDEX cwom_artifacts_issue_id ON cwom_artifacts (issue_id, id);
CREATE INDEX cwom_artifacts_type ON cwom_artifacts (type, id);

CREATE TABLE cwom_issue_context_packets (
    issue_id          TEXT COLLATE "C" NOT NULL REFERENCES cwom_issues (id),
    context_packet_id TEXT COLLATE "C" NOT NULL REFERENCES cwom_context_packets (id),
    trace_id          TEXT NOT NULL,
    created_at        BIGINT NOT NULL,
    PRIMARY KEY (issue_id, context_packet_id)
);

CREATE INDEX cwom_issue_context_packets_context_packet_id ON cwom_issue_context_packets (context_packet_id);

CREATE TABLE cwom_issue_doctrine_refs (
    issue_id        TEXT COLLATE "C" NOT NULL REFERENCES cwom_issues (id),
    doctrine_ref_id TEXT COLLATE "C" NOT NULL REFERENCES cwom_doctrine_refs (id),
    trace_id        TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (issue_id, doctrine_ref_id)
);

CREATE INDEX cwom_issue_doctrine_refs_doctrine_ref_id ON cwom_issue_doctrine_refs (doctrine_ref_id);

CREATE TABLE cwom_issue_constraint_snapshots (
    issue_id               TEXT COLLATE "C" NOT NULL REFERENCES cwom_issues (id),
    constraint_snapshot_id TEXT COLLATE "C" NOT NULL REFERENCES cwom_constraint_snapshots (id),
    trace_id               TEXT NOT NULL,
    created_at             BIGINT NOT NULL,
    PRIMARY KEY (issue_id, constraint_snapshot_id)
);

CREATE INDEX cwom_issue_constraint_snapshots_constraint_snapshot_id ON cwom_issue_constraint_snapshots (constraint_snapshot_id);

CREATE TABLE cwom_run_context_packets (
    run_id            TEXT COLLATE "C" NOT NULL REFERENCES cwom_runs (id),
    context_packet_id TEXT COLLATE "C" NOT NULL REFERENCES cwom_context_packets (id),
    trace_id          TEXT NOT NULL,
    created_at        BIGINT NOT NULL,
    PRIMARY KEY (run_id, context_packet_id)
);

CREATE INDEX cwom_run_context_packets_context_packet_id ON cwom_run_context_packets (context_packet_id);

CREATE TABLE cwom_run_doctrine_refs (
    run_id          TEXT COLLATE "C" NOT NULL REFERENCES cwom_runs (id),
    doctrine_ref_id TEXT COLLATE "C" NOT NULL REFERENCES cwom_doctrine_refs (id),
    trace_id        TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (run_id, doctrine_ref_id)
);

CREATE INDEX cwom_run_doctrine_refs_doctrine_ref_id ON cwom_run_doctrine_refs (doctrine_ref_id);

CREATE TABLE cwom_context_packet_doctrine_refs (
    context_packet_id TEXT COLLATE "C" NOT NULL REFERENCES cwom_context_packets (id),
    doctrine_ref_id   TEXT COLLATE "C" NOT NULL REFERENCES cwom_doctrine_refs (id),
    trace_id          TEXT NOT NULL,
    created_at        BIGINT NOT NULL,
    PRIMARY KEY (context_packet_id, doctrine_ref_id)
);

CREATE INDEX cwom_context_packet_doctrine_refs_doctrine_ref_id ON cwom_context_packet_doctrine_refs (doctrine_ref_id);

-- How Issues stand to each other, by the account of issue_id: parent, blocks, blocked_by, duplicates.
CREATE TABLE cwom_issue_relations (
    issue_id   TEXT COLLATE "C" NOT NULL REFERENCES cwom_issues (id),
    relation   TEXT NOT NULL,
    other_id   TEXT COLLATE "C" NOT NULL REFERENCES cwom_issues (id),
    trace_id   TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (issue_id, relation, other_id)
);

CREATE INDEX cwom_issue_relations_other_id ON cwom_issue_relations (other_id);

-- The Repo of the Task's Issue; the Run that the Task carries out, where it was made for one.
ALTER TABLE tasks ADD COLUMN cwom_repo_id TEXT;
ALTER TABLE tasks ADD COLUMN cwom_run_id TEXT;
