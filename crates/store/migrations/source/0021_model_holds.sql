-- What a budget was raised to; as it is granted where there is nothing.
ALTER TABLE model_accounts ADD COLUMN raised_nanos {number};
ALTER TABLE model_accounts ADD COLUMN raised_tokens {number};
ALTER TABLE model_accounts ADD COLUMN raised_requests {number};

-- Tasks whose budget of models is used up, and for which somebody is asked: waiting, raised or ended.
CREATE TABLE model_holds (
    task_id {ordered_text} NOT NULL PRIMARY KEY,
    attempt {number} NOT NULL,
    state TEXT NOT NULL,
    unit TEXT NOT NULL,
    asked_at {number} NOT NULL,
    waits_until {number} NOT NULL,
    decided_by TEXT,
    decided_at {number}
);

-- Which model a Task asks for, and how much of it: a JSON object.
ALTER TABLE tasks ADD COLUMN model TEXT;
