-- Retention. What is removed from the trace volume stays in the record, which says when and by which rule. A trace is marked
-- first and its folder deleted then: between the two trace_purged_at is null.
ALTER TABLE jobs ADD COLUMN trace_removed_at INTEGER;
ALTER TABLE jobs ADD COLUMN trace_removed_by TEXT;
ALTER TABLE jobs ADD COLUMN trace_purged_at INTEGER;
-- The same of the latest trace of a Task.
ALTER TABLE tasks ADD COLUMN trace_removed_at INTEGER;

-- What sweeps look through: traces that are there, the newest first; those whose folder is still to be deleted; Tasks that
-- have ended.
CREATE INDEX jobs_trace_there ON jobs (ended_at, id) WHERE ended_at IS NOT NULL AND trace_removed_at IS NULL;
CREATE INDEX jobs_trace_unpurged ON jobs (id) WHERE trace_removed_at IS NOT NULL AND trace_purged_at IS NULL;
CREATE INDEX tasks_ended ON tasks (completed_at, id) WHERE completed_at IS NOT NULL;
