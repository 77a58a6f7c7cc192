-- What PostgreSQL's pages take. There is nothing to change on SQLite.
SELECT 1;
