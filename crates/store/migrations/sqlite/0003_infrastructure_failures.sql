-- Attempts that the cluster failed are counted apart from those that a Task allows.
ALTER TABLE tasks ADD COLUMN infrastructure_failures INTEGER NOT NULL DEFAULT 0;
