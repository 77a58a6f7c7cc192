-- Large parts of rows, once for all that have them. Rows from before hold theirs themselves, and stay as they are.
CREATE TABLE contents (
    sha256     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    size_bytes BIGINT NOT NULL,
    body       TEXT NOT NULL
);

-- Which Task or work object has, or had, which of them. A content that nobody has is deleted.
CREATE TABLE content_refs (
    owner_id TEXT COLLATE "C" NOT NULL,
    sha256   TEXT COLLATE "C" NOT NULL REFERENCES contents (sha256),
    PRIMARY KEY (owner_id, sha256)
);

CREATE INDEX content_refs_sha256 ON content_refs (sha256);

-- spec_sha256 is the digest of the custom resource's spec as it was recorded last. superseded_at is set here alone, for
-- rows that have one custom resource together with a newer row: earlier versions let its id change. They are closed, with
-- an entry in the audit log, by the controller.

ALTER TABLE cwom_repos ADD COLUMN spec_sha256 TEXT;
ALTER TABLE cwom_repos ADD COLUMN superseded_at BIGINT;
CREATE INDEX cwom_repos_uid ON cwom_repos (uid) WHERE uid IS NOT NULL AND deleted_at IS NULL;
UPDATE cwom_repos SET superseded_at = updated_at WHERE uid IS NOT NULL AND deleted_at IS NULL AND EXISTS
    (SELECT 1 FROM cwom_repos AS newer WHERE newer.uid IS NOT NULL AND newer.deleted_at IS NULL AND newer.uid = cwom_repos.uid
     AND (newer.recorded_at, newer.id) > (cwom_repos.recorded_at, cwom_repos.id));
DROP INDEX cwom_repos_uid;
CREATE UNIQUE INDEX cwom_repos_uid ON cwom_repos (uid) WHERE deleted_at IS NULL AND superseded_at IS NULL;

ALTER TABLE cwom_issues ADD COLUMN spec_sha256 TEXT;
ALTER TABLE cwom_issues ADD COLUMN superseded_at BIGINT;
CREATE INDEX cwom_issues_uid ON cwom_issues (uid) WHERE uid IS NOT NULL AND deleted_at IS NULL;
UPDATE cwom_issues SET superseded_at = updated_at WHERE uid IS NOT NULL AND deleted_at IS NULL AND EXISTS
    (SELECT 1 FROM cwom_issues AS newer WHERE newer.uid IS NOT NULL AND newer.deleted_at IS NULL AND newer.uid = cwom_issues.uid
     AND (newer.recorded_at, newer.id) > (cwom_issues.recorded_at, cwom_issues.id));
DROP INDEX cwom_issues_uid;
CREATE UNIQUE INDEX cwom_issues_uid ON cwom_issues (uid) WHERE deleted_at IS NULL AND superseded_at IS NULL;

ALTER TABLE cwom_context_packets ADD COLUMN spec_sha256 TEXT;
ALTER TABLE cwom_context_packets ADD COLUMN superseded_at BIGINT;
CREATE INDEX cwom_context_packets_uid ON cwom_context_packets (uid) WHERE uid IS NOT NULL AND deleted_at IS NULL;
UPDATE cwom_context_packets SET superseded_at = updated_at WHERE uid IS NOT NULL AND deleted_at IS NULL AND EXISTS
    (SELECT 1 FROM cwom_context_packets AS newer WHERE newer.uid IS NOT NULL AND newer.deleted_at IS NULL AND newer.uid = cwom_context_packets.uid
     AND (newer.recorded_at, newer.id) > (cwom_context_packets.recorded_at, cwom_context_packets.id));
DROP INDEX cwom_context_packets_uid;
CREATE UNIQUE INDEX cwom_context_packets_uid ON cwom_context_packets (uid) WHERE deleted_at IS NULL AND superseded_at IS NULL;

ALTER TABLE cwom_constraint_snapshots ADD COLUMN spec_sha256 TEXT;
ALTER TABLE cwom_constraint_snapshots ADD COLUMN superseded_at BIGINT;
CREATE INDEX cwom_constraint_snapshots_uid ON cwom_constraint_snapshots (uid) WHERE uid IS NOT NULL AND deleted_at IS NULL;
UPDATE cwom_constraint_snapshots SET superseded_at = updated_at WHERE uid IS NOT NULL AND deleted_at IS NULL AND EXISTS
    (SELECT 1 FROM cwom_constraint_snapshots AS newer WHERE newer.uid IS NOT NULL AND newer.deleted_at IS NULL AND newer.uid = cwom_constraint_snapshots.uid
     AND (newer.recorded_at, newer.id) > (cwom_constraint_snapshots.recorded_at, cwom_constraint_snapshots.id));
DROP INDEX cwom_constraint_snapshots_uid;
CREATE UNIQUE INDEX cwom_constraint_snapshots_uid ON cwom_constraint_snapshots (uid) WHERE deleted_at IS NULL AND superseded_at IS NULL;

ALTER TABLE cwom_doctrine_refs ADD COLUMN spec_sha256 TEXT;
ALTER TABLE cwom_doctrine_refs ADD COLUMN superseded_at BIGINT;
CREATE INDEX cwom_doctrine_refs_uid ON cwom_doctrine_refs (uid) WHERE uid IS NOT NULL AND deleted_at IS NULL;
UPDATE cwom_doctrine_refs SET superseded_at = updated_at WHERE uid IS NOT NULL AND deleted_at IS NULL AND EXISTS
    (SELECT 1 FROM cwom_doctrine_refs AS newer WHERE newer.uid IS NOT NULL AND newer.deleted_at IS NULL AND newer.uid = cwom_doctrine_refs.uid
     AND (newer.recorded_at, newer.id) > (cwom_doctrine_refs.recorded_at, cwom_doctrine_refs.id));
DROP INDEX cwom_doctrine_refs_uid;
CREATE UNIQUE INDEX cwom_doctrine_refs_uid ON cwom_doctrine_refs (uid) WHERE deleted_at IS NULL AND superseded_at IS NULL;

ALTER TABLE cwom_runs ADD COLUMN spec_sha256 TEXT;
ALTER TABLE cwom_runs ADD COLUMN superseded_at BIGINT;
CREATE INDEX cwom_runs_uid ON cwom_runs (uid) WHERE uid IS NOT NULL AND deleted_at IS NULL;
UPDATE cwom_runs SET superseded_at = updated_at WHERE uid IS NOT NULL AND deleted_at IS NULL AND EXISTS
    (SELECT 1 FROM cwom_runs AS newer WHERE newer.uid IS NOT NULL AND newer.deleted_at IS NULL AND newer.uid = cwom_runs.uid
     AND (newer.recorded_at, newer.id) > (cwom_runs.recorded_at, cwom_runs.id));
DROP INDEX cwom_runs_uid;
CREATE UNIQUE INDEX cwom_runs_uid ON cwom_runs (uid) WHERE deleted_at IS NULL AND superseded_at IS NULL;

ALTER TABLE cwom_artifacts ADD COLUMN spec_sha256 TEXT;
ALTER TABLE cwom_artifacts ADD COLUMN superseded_at BIGINT;
CREATE INDEX cwom_artifacts_uid ON cwom_artifacts (uid) WHERE uid IS NOT NULL AND deleted_at IS NULL;
UPDATE cwom_artifacts SET superseded_at = updated_at WHERE uid IS NOT NULL AND deleted_at IS NULL AND EXISTS
    (SELECT 1 FROM cwom_artifacts AS newer WHERE newer.uid IS NOT NULL AND newer.deleted_at IS NULL AND newer.uid = cwom_artifacts.uid
     AND (newer.recorded_at, newer.id) > (cwom_artifacts.recorded_at, cwom_artifacts.id));
DROP INDEX cwom_artifacts_uid;
CREATE UNIQUE INDEX cwom_artifacts_uid ON cwom_artifacts (uid) WHERE deleted_at IS NULL AND superseded_at IS NULL;
