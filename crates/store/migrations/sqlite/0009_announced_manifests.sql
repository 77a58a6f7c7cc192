-- Whether the worker itself announced the digest of the manifest that was found, in its termination message. Nobody knows of those
-- that are older.
ALTER TABLE jobs ADD COLUMN manifest_announced INTEGER;
