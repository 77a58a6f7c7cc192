-- What a budget was raised to; as it is granted where there is nothing.
ALTER TABLE model_accounts ADD COLUMN raised_nanos BIGINT;
ALTER TABLE model_accounts ADD COLUMN raised_tokens BIGINT;
ALTER TABLE model_accounts ADD COLUMN raised_requests BIGINT;

-- Tasks whose budget of models is used up, and for which somebody is asked: waiting, raised or ended.
CREATE TABLE model_holds (
    task_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    attempt BIGINT NOT NULL,
    state TEXT NOT NULL,
    unit TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    waits_until BIGINT NOT NULL,
    decided_by TEXT,
    decided_at BIGINT
);

-- Which model a Task asks for, and how much of it: a JSON object.
ALTER TABLE tasks ADD COLUMN model TEXT;
