-- What is shown for attempts that succeeded (docs/reviews.md): a row for each, which never changes.
CREATE TABLE cwom_evidence_packs (
    id TEXT NOT NULL PRIMARY KEY,
    task_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    run_id TEXT,
    issue_id TEXT,
    namespace TEXT NOT NULL,
    subject_sha256 TEXT NOT NULL,
    verdict TEXT NOT NULL,
    evaluated_at INTEGER NOT NULL,
    pack TEXT NOT NULL,
    UNIQUE (task_id, attempt)
) STRICT;

CREATE INDEX cwom_evidence_packs_run_id ON cwom_evidence_packs (run_id);
CREATE INDEX cwom_evidence_packs_issue_id ON cwom_evidence_packs (issue_id);
CREATE INDEX cwom_evidence_packs_subject ON cwom_evidence_packs (subject_sha256);

-- What reviewers decided about them, likewise.
CREATE TABLE cwom_review_decisions (
    id TEXT NOT NULL PRIMARY KEY,
    pack_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    issue_id TEXT,
    namespace TEXT NOT NULL,
    subject_sha256 TEXT NOT NULL,
    decision TEXT NOT NULL,
    decided_at INTEGER NOT NULL,
    review TEXT NOT NULL
) STRICT;

CREATE INDEX cwom_review_decisions_pack_id ON cwom_review_decisions (pack_id);
CREATE INDEX cwom_review_decisions_task_id ON cwom_review_decisions (task_id);
CREATE INDEX cwom_review_decisions_issue_id ON cwom_review_decisions (issue_id);
CREATE INDEX cwom_review_decisions_subject ON cwom_review_decisions (subject_sha256);

-- Reviews that are waited for, and until when: follows from the two above.
CREATE TABLE open_reviews (
    pack_id TEXT NOT NULL PRIMARY KEY,
    task_id TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX open_reviews_expires_at ON open_reviews (expires_at);

-- Who else asked for a Task than its row tells: by the same idempotency key.
CREATE TABLE task_people (
    task_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (task_id, user_name)
) STRICT;
