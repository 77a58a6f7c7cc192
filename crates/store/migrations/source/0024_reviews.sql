-- What is shown for attempts that succeeded (docs/reviews.md): a row for each, which never changes.
CREATE TABLE cwom_evidence_packs (
    id {ordered_text} NOT NULL PRIMARY KEY,
    task_id {ordered_text} NOT NULL,
    attempt {number} NOT NULL,
    run_id {ordered_text},
    issue_id {ordered_text},
    namespace {ordered_text} NOT NULL,
    subject_sha256 {ordered_text} NOT NULL,
    verdict {ordered_text} NOT NULL,
    evaluated_at {number} NOT NULL,
    pack TEXT NOT NULL,
    UNIQUE (task_id, attempt)
);

CREATE INDEX cwom_evidence_packs_run_id ON cwom_evidence_packs (run_id);
CREATE INDEX cwom_evidence_packs_issue_id ON cwom_evidence_packs (issue_id);
CREATE INDEX cwom_evidence_packs_subject ON cwom_evidence_packs (subject_sha256);

-- What reviewers decided about them, likewise.
CREATE TABLE cwom_review_decisions (
    id {ordered_text} NOT NULL PRIMARY KEY,
    pack_id {ordered_text} NOT NULL,
    task_id {ordered_text} NOT NULL,
    issue_id {ordered_text},
    namespace {ordered_text} NOT NULL,
    subject_sha256 {ordered_text} NOT NULL,
    decision {ordered_text} NOT NULL,
    decided_at {number} NOT NULL,
    review TEXT NOT NULL
);

CREATE INDEX cwom_review_decisions_pack_id ON cwom_review_decisions (pack_id);
CREATE INDEX cwom_review_decisions_task_id ON cwom_review_decisions (task_id);
CREATE INDEX cwom_review_decisions_issue_id ON cwom_review_decisions (issue_id);
CREATE INDEX cwom_review_decisions_subject ON cwom_review_decisions (subject_sha256);

-- Reviews that are waited for, and until when: follows from the two above.
CREATE TABLE open_reviews (
    pack_id {ordered_text} NOT NULL PRIMARY KEY,
    task_id {ordered_text} NOT NULL,
    expires_at {number} NOT NULL
);

CREATE INDEX open_reviews_expires_at ON open_reviews (expires_at);

-- Who else asked for a Task than its row tells: by the same idempotency key.
CREATE TABLE task_people (
    task_id {ordered_text} NOT NULL,
    user_name {ordered_text} NOT NULL,
    since {number} NOT NULL,
    PRIMARY KEY (task_id, user_name)
);
