-- What is shown for attempts that succeeded (docs/reviews.md): a row for each, which never changes.
CREATE TABLE cwom_evidence_packs (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    task_id TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    run_id TEXT COLLATE "C",
    issue_id TEXT COLLATE "C",
    namespace TEXT COLLATE "C" NOT NULL,
    subject_sha256 TEXT COLLATE "C" NOT NULL,
    verdict TEXT COLLATE "C" NOT NULL,
    evaluated_at BIGINT NOT NULL,
    pack TEXT NOT NULL,
    UNIQUE (task_id, attempt)
);

CREATE INDEX cwom_evidence_packs_run_id ON cwom_evidence_packs (run_id);
CREATE INDEX cwom_evidence_packs_issue_id ON cwom_evidence_packs (issue_id);
CREATE INDEX cwom_evidence_packs_subject ON cwom_evidence_packs (subject_sha256);

-- What reviewers decided about them, likewise.
CREATE TABLE cwom_review_decisions (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    pack_id TEXT COLLATE "C" NOT NULL,
    task_id TEXT COLLATE "C" NOT NULL,
    issue_id TEXT COLLATE "C",
    namespace TEXT COLLATE "C" NOT NULL,
    subject_sha256 TEXT COLLATE "C" NOT NULL,
    decision TEXT COLLATE "C" NOT NULL,
    decided_at BIGINT NOT NULL,
    review TEXT NOT NULL
);

CREATE INDEX cwom_review_decisions_pack_id ON cwom_review_decisions (pack_id);
CREATE INDEX cwom_review_decisions_task_id ON cwom_review_decisions (task_id);
CREATE INDEX cwom_review_decisions_issue_id ON cwom_review_decisions (issue_id);
CREATE INDEX cwom_review_decisions_subject ON cwom_review_decisions (subject_sha256);

-- Reviews that are waited for, and until when: follows from the two above.
CREATE TABLE open_reviews (
    pack_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    task_id TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX open_reviews_expires_at ON open_reviews (expires_at);

-- Who else asked for a Task than its row tells: by the same idempotency key.
CREATE TABLE task_people (
    task_id TEXT COLLATE "C" NOT NULL,
    user_name TEXT COLLATE "C" NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (task_id, user_name)
);
