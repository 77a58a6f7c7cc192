-- What PostgreSQL's pages take. There is nothing to change on SQLite.
{postgres}
-- Entries come in the order of their times: ranges of pages tell where a time is, and an entry of an index for each would be a
-- thirtieth of the log.
DROP INDEX audit_log_ts;
CREATE INDEX audit_log_ts ON audit_log USING brin (ts) WITH (pages_per_range = 32, autosummarize = on);
-- The log only grows at its end: nothing is put between what is there.
ALTER INDEX audit_log_id_key SET (fillfactor = 100);
ALTER INDEX audit_log_pkey SET (fillfactor = 100);
-- Of one Issue or Run there are few: they are sorted when they are asked for, and what they have in common is there once.
DROP INDEX cwom_artifacts_issue_id;
CREATE INDEX cwom_artifacts_issue_id ON cwom_artifacts (issue_id);
DROP INDEX cwom_artifacts_run_id;
CREATE INDEX cwom_artifacts_run_id ON cwom_artifacts (run_id);

-- Of what changes some times on its way, each state before stays on its page until a vacuum, unless the next finds room there: then
-- the page is cleared as it fills. Holds for pages that are written from now on.
ALTER TABLE tasks SET (fillfactor = 70);
ALTER TABLE jobs SET (fillfactor = 70);
ALTER TABLE cwom_issues SET (fillfactor = 70);
ALTER TABLE cwom_runs SET (fillfactor = 70);
{both}
{sqlite}
SELECT 1;
{both}
