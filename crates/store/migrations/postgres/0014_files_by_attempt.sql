-- The files of an attempt are found by it and their uris: no index besides.
ALTER TABLE artifacts DROP CONSTRAINT artifacts_pkey;
ALTER TABLE artifacts DROP CONSTRAINT artifacts_job_id_uri_key;
ALTER TABLE artifacts DROP CONSTRAINT artifacts_task_id_fkey;
DROP INDEX artifacts_task_id;
ALTER TABLE artifacts ADD PRIMARY KEY (job_id, uri);
