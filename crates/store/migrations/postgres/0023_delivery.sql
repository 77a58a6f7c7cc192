-- What becomes of a Task's change once it is approved: a JSON object.
ALTER TABLE tasks ADD COLUMN delivery TEXT;
