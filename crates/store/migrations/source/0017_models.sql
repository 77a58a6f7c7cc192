-- What attempts ask of models, and what that uses up (docs/models.md). An account is of a Task, an attempt, a namespace or a grant
-- of a day; amounts are in billionths of a dollar, tokens and requests.
CREATE TABLE model_accounts (
    account {ordered_text} NOT NULL PRIMARY KEY,
    spent_nanos {number} NOT NULL,
    spent_tokens {number} NOT NULL,
    spent_requests {number} NOT NULL,
    reserved_nanos {number} NOT NULL,
    reserved_tokens {number} NOT NULL,
    reserved_requests {number} NOT NULL,
    changed_at {number} NOT NULL
);

-- Of exchanges that have not ended, each in all of its accounts.
CREATE TABLE model_reservations (
    id {ordered_text} NOT NULL PRIMARY KEY,
    broker TEXT NOT NULL,
    accounts TEXT NOT NULL,
    nanos {number} NOT NULL,
    tokens {number} NOT NULL,
    requests {number} NOT NULL,
    reserved_at {number} NOT NULL
);

-- Exchanges that have ended, in the order in which they did.
CREATE TABLE model_exchanges (
    task_id {ordered_text} NOT NULL,
    attempt {number} NOT NULL,
    seq {number} NOT NULL,
    alias {ordered_text} NOT NULL,
    nanos {number} NOT NULL,
    tokens {number} NOT NULL,
    ended_at {number} NOT NULL,
    exchange TEXT NOT NULL,
    PRIMARY KEY (task_id, attempt, seq)
);

CREATE INDEX model_exchanges_ended_at ON model_exchanges (ended_at);
CREATE INDEX model_reservations_reserved_at ON model_reservations (reserved_at);
