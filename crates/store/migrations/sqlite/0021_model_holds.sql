-- What a budget was raised to; as it is granted where there is nothing.
ALTER TABLE model_accounts ADD COLUMN raised_nanos INTEGER;
ALTER TABLE model_accounts ADD COLUMN raised_tokens INTEGER;
ALTER TABLE model_accounts ADD COLUMN raised_requests INTEGER;

-- Tasks whose budget of models is used up, and for which somebody is asked: waiting, raised or ended.
CREATE TABLE model_holds (
    task_id TEXT NOT NULL PRIMARY KEY,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,
    unit TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    waits_until INTEGER NOT NULL,
    decided_by TEXT,
    decided_at INTEGER
) STRICT;

-- Which model a Task asks for, and how much of it: a JSON object.
ALTER TABLE tasks ADD COLUMN model TEXT;
