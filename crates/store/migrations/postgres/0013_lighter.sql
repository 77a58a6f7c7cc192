-- Indexes that no query needs: each Task has some twenty entries, which are kept for ever.

-- What is asked by kind and id, by time, or by an action that is common, is found by the id, the time, or from the newest back.
DROP INDEX audit_log_action;
DROP INDEX audit_log_entity_kind;
DROP INDEX audit_log_entity;
DROP INDEX audit_log_actor;
DROP INDEX audit_log_ts_action;
DROP INDEX audit_log_entity_ts;
CREATE INDEX audit_log_rare_kind ON audit_log (entity_kind)
    WHERE entity_kind NOT IN ('Task', 'Job', 'Trace', 'Issue', 'ContextPacket', 'ConstraintSnapshot', 'Run', 'Artifact');
CREATE INDEX audit_log_rare_action ON audit_log (action) WHERE action IN ('updated', 'deleted', 'linked', 'unlinked');
-- Most entries are the controller's.
DROP INDEX audit_log_actor_id;
CREATE INDEX audit_log_actor_id ON audit_log (actor_id) WHERE actor_id <> 'jct-controller';

-- Attempts and files are found by their Task.
DROP INDEX jobs_trace_id;
DROP INDEX artifacts_trace_id;

-- Rows of living objects are in tasks_object.
DROP INDEX tasks_uid;
CREATE INDEX tasks_uid ON tasks (uid) WHERE deleted_at IS NOT NULL;

-- What Tasks make is alike in these.
DROP INDEX cwom_issues_priority;
CREATE INDEX cwom_issues_priority ON cwom_issues (priority, id) WHERE priority <> 'P2';
DROP INDEX cwom_constraint_snapshots_scope;
CREATE INDEX cwom_constraint_snapshots_scope ON cwom_constraint_snapshots (scope, id) WHERE scope <> 'run';
DROP INDEX cwom_runs_mode;
CREATE INDEX cwom_runs_mode ON cwom_runs (mode, id) WHERE mode IN ('human', 'hybrid');
DROP INDEX cwom_artifacts_type;
CREATE INDEX cwom_artifacts_type ON cwom_artifacts (type, id) WHERE type NOT IN ('report', 'trace', 'code_patch');

-- Most have no custom resource.
DROP INDEX cwom_repos_uid;
CREATE UNIQUE INDEX cwom_repos_uid ON cwom_repos (uid)
    WHERE uid IS NOT NULL AND deleted_at IS NULL AND superseded_at IS NULL;
DROP INDEX cwom_issues_uid;
CREATE UNIQUE INDEX cwom_issues_uid ON cwom_issues (uid)
    WHERE uid IS NOT NULL AND deleted_at IS NULL AND superseded_at IS NULL;
DROP INDEX cwom_context_packets_uid;
CREATE UNIQUE INDEX cwom_context_packets_uid ON cwom_context_packets (uid)
    WHERE uid IS NOT NULL AND deleted_at IS NULL AND superseded_at IS NULL;
DROP INDEX cwom_constraint_snapshots_uid;
CREATE UNIQUE INDEX cwom_constraint_snapshots_uid ON cwom_constraint_snapshots (uid)
    WHERE uid IS NOT NULL AND deleted_at IS NULL AND superseded_at IS NULL;
DROP INDEX cwom_doctrine_refs_uid;
CREATE UNIQUE INDEX cwom_doctrine_refs_uid ON cwom_doctrine_refs (uid)
    WHERE uid IS NOT NULL AND deleted_at IS NULL AND superseded_at IS NULL;
DROP INDEX cwom_runs_uid;
CREATE UNIQUE INDEX cwom_runs_uid ON cwom_runs (uid)
    WHERE uid IS NOT NULL AND deleted_at IS NULL AND superseded_at IS NULL;
DROP INDEX cwom_artifacts_uid;
CREATE UNIQUE INDEX cwom_artifacts_uid ON cwom_artifacts (uid)
    WHERE uid IS NOT NULL AND deleted_at IS NULL AND superseded_at IS NULL;
