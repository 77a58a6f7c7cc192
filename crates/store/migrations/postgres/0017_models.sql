-- What attempts ask of models, and what that uses up (docs/models.md). An account is of a Task, an attempt, a namespace or a grant
-- of a day; amounts are in billionths of a dollar, tokens and requests.
CREATE TABLE model_accounts (
    account TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    spent_nanos BIGINT NOT NULL,
    spent_tokens BIGINT NOT NULL,
    spent_requests BIGINT NOT NULL,
    reserved_nanos BIGINT NOT NULL,
    reserved_tokens BIGINT NOT NULL,
    reserved_requests BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

-- Of exchanges that have not ended, each in all of its accounts.
CREATE TABLE model_reservations (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    broker TEXT NOT NULL,
    accounts TEXT NOT NULL,
    nanos BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    reserved_at BIGINT NOT NULL
);

-- Exchanges that have ended, in the order in which they did.
CREATE TABLE model_exchanges (
    task_id TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    alias TEXT COLLATE "C" NOT NULL,
    nanos BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    exchange TEXT NOT NULL,
    PRIMARY KEY (task_id, attempt, seq)
);

CREATE INDEX model_exchanges_ended_at ON model_exchanges (ended_at);
CREATE INDEX model_reservations_reserved_at ON model_reservations (reserved_at);
