-- What was recorded within the last hour is counted by namespace, for the limit on it. What Tasks make is counted with them.
CREATE INDEX tasks_recorded ON tasks (recorded_at, namespace);
CREATE INDEX cwom_repos_recorded ON cwom_repos (recorded_at, namespace) WHERE task_id IS NULL;
CREATE INDEX cwom_issues_recorded ON cwom_issues (recorded_at, namespace) WHERE task_id IS NULL;
CREATE INDEX cwom_context_packets_recorded ON cwom_context_packets (recorded_at, namespace) WHERE task_id IS NULL;
CREATE INDEX cwom_constraint_snapshots_recorded ON cwom_constraint_snapshots (recorded_at, namespace) WHERE task_id IS NULL;
CREATE INDEX cwom_doctrine_refs_recorded ON cwom_doctrine_refs (recorded_at, namespace) WHERE task_id IS NULL;
CREATE INDEX cwom_runs_recorded ON cwom_runs (recorded_at, namespace) WHERE task_id IS NULL;
CREATE INDEX cwom_artifacts_recorded ON cwom_artifacts (recorded_at, namespace) WHERE task_id IS NULL;

-- The marks of second rows of one object, which the audit log tells from now on: few or none.
CREATE INDEX tasks_second ON tasks (id) WHERE duplicate_of IS NOT NULL;
CREATE INDEX cwom_repos_superseded ON cwom_repos (id) WHERE superseded_at IS NOT NULL;
CREATE INDEX cwom_issues_superseded ON cwom_issues (id) WHERE superseded_at IS NOT NULL;
CREATE INDEX cwom_context_packets_superseded ON cwom_context_packets (id) WHERE superseded_at IS NOT NULL;
CREATE INDEX cwom_constraint_snapshots_superseded ON cwom_constraint_snapshots (id) WHERE superseded_at IS NOT NULL;
CREATE INDEX cwom_doctrine_refs_superseded ON cwom_doctrine_refs (id) WHERE superseded_at IS NOT NULL;
CREATE INDEX cwom_runs_superseded ON cwom_runs (id) WHERE superseded_at IS NOT NULL;
CREATE INDEX cwom_artifacts_superseded ON cwom_artifacts (id) WHERE superseded_at IS NOT NULL;
