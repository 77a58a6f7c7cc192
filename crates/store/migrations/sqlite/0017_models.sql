-- What attempts ask of models, and what that uses up (docs/models.md). An account is of a Task, an attempt, a namespace or a grant
-- of a day; amounts are in billionths of a dollar, tokens and requests.
CREATE TABLE model_accounts (
    account TEXT NOT NULL PRIMARY KEY,
    spent_nanos INTEGER NOT NULL,
    spent_tokens INTEGER NOT NULL,
    spent_requests INTEGER NOT NULL,
    reserved_nanos INTEGER NOT NULL,
    reserved_tokens INTEGER NOT NULL,
    reserved_requests INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;

-- Of exchanges that have not ended, each in all of its accounts.
CREATE TABLE model_reservations (
    id TEXT NOT NULL PRIMARY KEY,
    broker TEXT NOT NULL,
    accounts TEXT NOT NULL,
    nanos INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    reserved_at INTEGER NOT NULL
) STRICT;

-- Exchanges that have ended, in the order in which they did.
CREATE TABLE model_exchanges (
    task_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    alias TEXT NOT NULL,
    nanos INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    exchange TEXT NOT NULL,
    PRIMARY KEY (task_id, attempt, seq)
) STRICT;

CREATE INDEX model_exchanges_ended_at ON model_exchanges (ended_at);
CREATE INDEX model_reservations_reserved_at ON model_reservations (reserved_at);
