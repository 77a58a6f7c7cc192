-- One object, one record: a live row for each uid, and no second one.

-- Who made the present object, where that is not who submitted the Task: it was restored under its id.
ALTER TABLE tasks ADD COLUMN restored_by TEXT;
-- The administrator by whose decision the row was written from the status of an object whose record was lost.
ALTER TABLE tasks ADD COLUMN adopted_by TEXT;
-- Earlier versions let the pinned id of a living object be changed, and made a row, and a Job, for each. The first one stays the
-- record of the object; the others name it, and the operator ends their Jobs and closes them, with audit entries.
ALTER TABLE tasks ADD COLUMN duplicate_of TEXT;

CREATE INDEX tasks_uid ON tasks (uid);

UPDATE tasks
SET duplicate_of = (
    SELECT f.id FROM tasks f WHERE f.uid = tasks.uid AND f.deleted_at IS NULL ORDER BY f.recorded_at, f.id LIMIT 1)
WHERE deleted_at IS NULL
  AND EXISTS (
    SELECT 1 FROM tasks f
    WHERE f.uid = tasks.uid AND f.deleted_at IS NULL
      AND (f.recorded_at < tasks.recorded_at OR (f.recorded_at = tasks.recorded_at AND f.id < tasks.id)));

CREATE UNIQUE INDEX tasks_object ON tasks (uid) WHERE deleted_at IS NULL AND duplicate_of IS NULL;
