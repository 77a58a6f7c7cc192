//! Evidence packs, and what reviewers decide about them.

use jct::domain::cwom::{Actor as Who, Kind, Status};
use jct::domain::evidence::{EvidencePack, Subject, Verdict};
use jct::domain::review::{Decision, EXPIRY, Outcome, Part, Required};
use jct::domain::{Actor, ActorKind, Id};
use jct::store::{
    AttemptEnd, DecideReview, NewTask, Next, PackFilter, Page, Recording, ReviewFilter, Reviewed, Store, TaskRow,
};
use rstest::rstest;
use serde_json::json;

use crate::harness::{Backend, Backend::*, Database, at, end, new_task, row, running, start};

pub fn evidence(task: &TaskRow, attempt: u32, review: Option<Required>) -> EvidencePack {
    let subject = Subject {
        attempt,
        manifest_sha256: "ab".repeat(32),
        commit: Some("c".repeat(40)),
        tree: None,
        base_commit: None,
        branch: Some("jct/x".into()),
        repo: "octo/hello".into(),
    };
    EvidencePack {
        id: EvidencePack::id_of(task.id, task.created_at, attempt),
        trace_id: task.trace_id.clone(),
        namespace: task.namespace.clone(),
        task_id: task.id,
        for_run: None,
        for_issue: None,
        subject_sha256: subject.sha256(task.id),
        subject,
        verdict: Verdict::Pass,
        verdict_reason: "all is well".into(),
        evaluated_at: at(18),
        evaluated_by: Who { actor_kind: ActorKind::System, actor_id: "jct-controller".into(), display: None },
        criteria_results: Vec::new(),
        evidence_collected: Vec::new(),
        evidence_missing: Vec::new(),
        checks_passed: vec!["manifest_verified".into()],
        checks_failed: Vec::new(),
        checks_skipped: Vec::new(),
        evidence_uri: None,
        review_required: review,
    }
}

pub fn required(approvals: u32) -> Required {
    Required { forge: "f".into(), approvals, expires_at: Some(at(1000)), ..Required::default() }
}

pub fn succeeded(task: &TaskRow, review: Option<Required>) -> AttemptEnd {
    let next = Next::Completed { result: json!({"summary": "done"}) };
    AttemptEnd { evidence: Some(Box::new(evidence(task, 1, review))), ..end(task, 1, next) }
}

/// A Task that has succeeded, and what is shown for it.
async fn done(store: &Store, name: &str, review: Option<Required>) -> (TaskRow, EvidencePack) {
    let new = NewTask { create_cwom: true, ..new_task(name) };
    let recorded = row(store.record_task(new).await.unwrap());
    store.start_attempt(start(&recorded, 1)).await.unwrap();
    store.mark_running(running(&recorded, 1)).await.unwrap();
    let task = store.finish_attempt(succeeded(&recorded, review)).await.unwrap();
    let pack = store.evidence_of_attempt(task.id, 1).await.unwrap().expect("a pack");
    (task, pack)
}

pub fn decide(pack: &EvidencePack, by: &str, decision: Decision) -> DecideReview {
    let kind = if by == EXPIRY { ActorKind::System } else { ActorKind::Human };
    DecideReview {
        id: Id::derive(at(30), by),
        pack: pack.clone(),
        subject_sha256: pack.subject_sha256.clone(),
        reviewer: Actor { kind, id: by.into() },
        decision,
        reason: Some("I have read it".into()),
        criteria_overrides: Vec::new(),
        self_approved: false,
        at: at(30),
    }
}

async fn statuses(store: &Store, task: &TaskRow) -> [Status; 2] {
    let of = async |kind, id| store.object(kind, id).await.unwrap().unwrap().object.spec.status().unwrap();
    [of(Kind::Issue, task.cwom_issue_id.unwrap()).await, of(Kind::Run, task.run_id(1).unwrap()).await]
}

async fn outcome(store: &Store, pack: &EvidencePack) -> Outcome {
    store.review_of(&pack.subject_sha256).await.unwrap().expect("a review").outcome
}

#[rstest]
#[tokio::test]
async fn an_attempt_has_one_pack_and_waits_until_enough_people_approve(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let (task, pack) = done(store, "a", Some(required(2))).await;
    assert_eq!(statuses(store, &task).await, [Status::UnderReview; 2]);
    // Again: nothing is written.
    let before = db.rows().await;
    store.finish_attempt(succeeded(&task, None)).await.unwrap();
    assert_eq!(db.rows().await, before);
    assert_eq!(pack.for_issue.as_ref().unwrap().id(), task.cwom_issue_id);
    assert_eq!(pack.for_run.as_ref().unwrap().id(), task.run_id(1));

    assert_eq!(outcome(store, &pack).await, Outcome::Missing { approvals: 2 });
    let Reviewed::Recorded(first, stands) =
        store.decide_review(decide(&pack, "bob", Decision::Approved)).await.unwrap()
    else {
        panic!("not recorded")
    };
    assert_eq!(stands, Outcome::Missing { approvals: 1 });
    let before = db.rows().await;
    let again = store.decide_review(decide(&pack, "bob", Decision::Approved)).await.unwrap();
    assert!(matches!(again, Reviewed::Recorded(known, _) if known == first), "the same object decides once");
    assert_eq!(db.rows().await, before);
    // The same person, by another object, is no second one.
    let second_try = DecideReview { id: Id::derive(at(31), "bob"), ..decide(&pack, "bob", Decision::Approved) };
    store.decide_review(second_try).await.unwrap();
    assert_eq!(outcome(store, &pack).await, Outcome::Missing { approvals: 1 });
    assert_eq!(statuses(store, &task).await, [Status::UnderReview; 2]);
    store.decide_review(decide(&pack, "eve", Decision::Approved)).await.unwrap();
    assert_eq!(outcome(store, &pack).await, Outcome::Approved);
    assert_eq!(statuses(store, &task).await, [Status::Done; 2]);
    // What has ended stays.
    let late = store.decide_review(decide(&pack, "joe", Decision::Rejected)).await.unwrap();
    assert_eq!(late, Reviewed::NotOpen(Outcome::Approved));

    let of_task = PackFilter { task_id: Some(task.id), ..PackFilter::default() };
    assert_eq!(store.evidence_packs(&of_task, Page::default()).await.unwrap(), std::slice::from_ref(&pack));
    let by_issue = ReviewFilter { issue_id: task.cwom_issue_id, ..ReviewFilter::default() };
    assert_eq!(store.reviews(&by_issue, Page::default()).await.unwrap().len(), 3);
    let other = ReviewFilter { decision: Some(Decision::Rejected), ..by_issue };
    assert!(store.reviews(&other, Page::default()).await.unwrap().is_empty());
    store.close().await;
    assert_eq!(db.check().await.problems, [] as [&str; 0]);
}

#[rstest]
#[case(Decision::Rejected, "eve", Outcome::Rejected { by: "eve".into(), reason: Some("I have read it".into()) })]
#[case(Decision::NeedsChanges, "eve", Outcome::NeedsChanges { by: "eve".into(), reason: Some("I have read it".into()) })]
#[case(Decision::Rejected, EXPIRY, Outcome::Expired)]
#[tokio::test]
async fn one_no_ends_it(
    #[case] decision: Decision,
    #[case] by: &str,
    #[case] expected: Outcome,
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let (task, pack) = done(store, "a", Some(required(2))).await;
    store.decide_review(decide(&pack, "bob", Decision::Approved)).await.unwrap();
    store.decide_review(decide(&pack, by, decision)).await.unwrap();
    assert_eq!(outcome(store, &pack).await, expected);
    assert_eq!(statuses(store, &task).await, [Status::Failed; 2]);
    assert!(store.expired_reviews(at(2000)).await.unwrap().is_empty(), "nobody is waited for");
}

#[rstest]
#[tokio::test]
async fn another_digest_is_stale_and_nothing_is_reviewed_that_needs_no_review(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let (_, pack) = done(store, "a", Some(required(1))).await;
    let stale = DecideReview { subject_sha256: "0".repeat(64), ..decide(&pack, "bob", Decision::Approved) };
    let before = db.rows().await;
    let expected = Reviewed::Stale { subject_sha256: pack.subject_sha256.clone() };
    assert_eq!(store.decide_review(stale).await.unwrap(), expected);
    let unknown = EvidencePack { id: Id::derive(at(1), "other"), ..pack.clone() };
    let unknown = store.decide_review(decide(&unknown, "bob", Decision::Approved)).await.unwrap();
    assert_eq!(unknown, Reviewed::UnknownPack);
    assert_eq!(db.rows().await, before);

    let (task, free) = done(store, "b", None).await;
    assert_eq!(statuses(store, &task).await, [Status::Done; 2]);
    let answer = store.decide_review(decide(&free, "bob", Decision::Approved)).await.unwrap();
    assert_eq!(answer, Reviewed::NotOpen(Outcome::NotRequired));
    assert!(store.review_of(&free.subject_sha256).await.unwrap().unwrap().may_be_delivered());
    assert!(!store.review_of(&pack.subject_sha256).await.unwrap().unwrap().may_be_delivered());
    assert_eq!(store.review_of(&"0".repeat(64)).await.unwrap(), None);
}

#[rstest]
#[tokio::test]
async fn what_nobody_reviews_expires(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let (_, pack) = done(&db.store, "a", Some(required(1))).await;
    assert!(db.store.expired_reviews(at(999)).await.unwrap().is_empty());
    assert_eq!(db.store.expired_reviews(at(1000)).await.unwrap(), [pack]);
}

#[rstest]
#[tokio::test]
async fn who_asks_for_the_same_is_of_the_chain(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let mut first = new_task("a");
    first.create_cwom = true;
    first.task.idempotency_key = Some("k".into());
    let recorded = row(store.record_task(first.clone()).await.unwrap());
    let mut second = NewTask { submitted_by: Some("grace".into()), ..new_task("b") };
    second.create_cwom = true;
    second.task.idempotency_key = Some("k".into());
    for _ in 0..2 {
        assert!(matches!(store.record_task(second.clone()).await.unwrap(), Recording::Duplicate { .. }));
    }
    store.note_asker(recorded.id, "heidi".into(), at(3)).await.unwrap();
    let chain = store.chain_of(recorded.id).await.unwrap();
    for user in ["grace", "heidi", recorded.submitted_by.as_deref().unwrap()] {
        assert_eq!(chain.part_of(user), Some(Part::Submitted), "{user}");
    }
    assert_eq!(chain.part_of("bob"), None);
    store.close().await;
    assert_eq!(db.check().await.problems, [] as [&str; 0]);
}

#[rstest]
#[tokio::test]
async fn to_have_reviewed_is_no_part_in_it(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let (task, pack) = done(&db.store, "a", Some(required(2))).await;
    db.store.decide_review(decide(&pack, "bob", Decision::Approved)).await.unwrap();
    let last = DecideReview { id: Id::derive(at(31), "eve"), ..decide(&pack, "eve", Decision::Approved) };
    db.store.decide_review(last).await.unwrap();
    let chain = db.store.chain_of(task.id).await.unwrap();
    // Whose approval ended it wrote the Issue's status: of that nothing follows.
    assert_eq!((chain.part_of("bob"), chain.part_of("eve")), (None, None));
}
