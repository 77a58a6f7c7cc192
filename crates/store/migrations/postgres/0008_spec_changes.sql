-- Up to which generation of its object the changes of a Task's spec are in the audit log; 0 before the first.
ALTER TABLE tasks ADD COLUMN spec_generation BIGINT NOT NULL DEFAULT 0;
