-- How many Tasks of each namespace are open is asked every few seconds.
CREATE INDEX tasks_open_namespace ON tasks (namespace)
    WHERE deleted_at IS NULL AND status IN ('pending', 'queued', 'running');
