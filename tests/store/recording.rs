use jct::domain::{Code, Finding, Id};
use jct::store::{AuditCheck, Conflict, NewTask, Page, RecordDeleted, Recording, Refusal, StoreError, TaskFilter};
use rstest::rstest;
use serde_json::json;

use crate::harness::{Backend, Backend::*, Database, ada, at, audit, new_task, object, row, start, task, with_key};

#[rstest]
#[tokio::test]
async fn a_task_is_recorded_once(#[values(Sqlite, Postgres)] backend: Backend) {
    let Database { store, .. } = &Database::fresh(backend).await;
    let first = match store.record_task(new_task("a")).await.unwrap() {
        Recording::Recorded(row) => *row,
        other => panic!("{other:?}"),
    };
    assert_eq!(store.task(first.id).await.unwrap().as_ref(), Some(&first), "stored as returned");
    let later = NewTask { recorded_at: at(99), ..new_task("a") };
    assert_eq!(store.record_task(later).await.unwrap(), Recording::Known(Box::new(first.clone())));
    insta::assert_json_snapshot!("recorded", audit(store).await);
    insta::assert_json_snapshot!("task_json", first.to_json());
}

#[rstest]
#[tokio::test]
async fn a_key_is_one_task_of_a_namespace(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let first = row(db.store.record_task(with_key("a", "nightly")).await.unwrap());
    let before = db.rows().await;
    let second = db.store.record_task(with_key("b", "nightly")).await.unwrap();
    assert_eq!(second, Recording::Duplicate { first: Box::new(first) });
    assert_eq!(db.rows().await, before);
    let elsewhere = NewTask { namespace: "other".into(), ..with_key("c", "nightly") };
    assert!(matches!(db.store.record_task(elsewhere).await.unwrap(), Recording::Recorded(_)));
    assert!(
        matches!(db.store.record_task(new_task("d")).await.unwrap(), Recording::Recorded(_)),
        "no key, no conflict"
    );
}

#[rstest]
#[tokio::test]
async fn fifty_at_once_with_one_key_make_one_row(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let calls = (0..50).map(|n| db.store.record_task(with_key(&format!("uid-{n}"), "same")));
    let recordings = futures::future::try_join_all(calls).await.unwrap();
    let new: Vec<_> = recordings.iter().filter(|recording| matches!(recording, Recording::Recorded(_))).collect();
    assert_eq!(new.len(), 1);
    let winner = row(new[0].clone());
    for recording in recordings {
        assert!(match recording {
            Recording::Recorded(row) => row.id == winner.id,
            Recording::Duplicate { first } => first.id == winner.id,
            _ => false,
        });
    }
    assert_eq!(db.rows().await, [1, 0, 0, 1]);
}

#[rstest]
#[tokio::test]
async fn a_pinned_id_is_a_restore_or_taken(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let first = row(store.record_task(new_task("a")).await.unwrap());
    let deleted = RecordDeleted { id: first.id, uid: "a".into(), actor: ada(), note: None, at: at(5) };
    store.record_deleted(deleted).await.unwrap();

    let foreign = NewTask { id: first.id, ..new_task("b") };
    let before = db.rows().await;
    assert!(matches!(store.record_task(foreign).await.unwrap(), Recording::IdTaken { by } if by.id == first.id));
    assert_eq!(db.rows().await, before);

    let restored = NewTask { id: first.id, name: "a".into(), ..new_task("a2") };
    let known = row(store.record_task(restored.clone()).await.unwrap());
    assert_eq!((known.uid.as_str(), known.deleted_at), ("a2", None));
    assert_eq!(store.task(first.id).await.unwrap().as_ref(), Some(&known));
    let before = db.rows().await;
    assert_eq!(row(store.record_task(restored).await.unwrap()), known);
    assert_eq!(db.rows().await, before, "a repeated restore writes nothing");
    let late = RecordDeleted { id: first.id, uid: "a".into(), actor: ada(), note: None, at: at(6) };
    assert_eq!(store.record_deleted(late).await.unwrap(), Some(known), "the old object's end is not the new one's");
    insta::assert_json_snapshot!("restored", audit(store).await);
}

fn refusal(uid: &str) -> Refusal {
    let NewTask { id, trace_id, namespace, name, .. } = new_task(uid);
    Refusal {
        id,
        trace_id,
        namespace,
        name,
        uid: uid.into(),
        actor: ada(),
        findings: vec![
            Finding::new(Code::RepoNotAllowed, "spec.target.repo", "no prefix allows it"),
            Finding::new(Code::TimeBudgetTooLow, "spec.constraints.timeBudgetSeconds", "at least 30"),
        ],
        spec_sha256: "ef".repeat(32),
        refused_at: at(1),
    }
}

#[rstest]
#[tokio::test]
async fn a_refusal_is_written_once_and_final(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let first = refusal("a");
    let again = Refusal { findings: vec![], refused_at: at(9), ..refusal("a") };
    let calls = (0..20).map(|n| store.record_refusal(if n == 0 { first.clone() } else { again.clone() }));
    for findings in futures::future::try_join_all(calls).await.unwrap() {
        assert_eq!(findings, first.findings);
    }
    assert_eq!(store.refusal(first.id).await.unwrap(), Some(first.findings.clone()));
    assert_eq!(store.task(first.id).await.unwrap(), None);
    assert_eq!(store.record_task(new_task("a")).await.unwrap(), Recording::Refused(first.findings));
    assert_eq!(db.rows().await, [0, 0, 0, 1]);
    insta::assert_json_snapshot!("refused", audit(store).await);

    let recorded = row(store.record_task(new_task("b")).await.unwrap());
    assert_eq!(store.refusal(recorded.id).await.unwrap(), None);
    let refused = store.record_refusal(refusal("b")).await.unwrap_err();
    assert_eq!(refused, StoreError::Conflict { task_id: recorded.id, reason: Conflict::Recorded });
}

#[rstest]
#[tokio::test]
async fn no_text_is_sql_or_gets_lost(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let texts = [
        "'; DROP TABLE tasks; --",
        "\" OR 1=1 --",
        "$1 ? :a @b %s \\ \\' \n\r\t\u{1}",
        "Ünïcödé 🦀 \u{200f}\u{202e}\u{feff}\u{10ffff} e\u{301}",
    ];
    for (n, text) in texts.into_iter().enumerate() {
        let mut new = new_task(&format!("{text}{n}"));
        new.namespace = text.into();
        new.name = text.into();
        new.submitted_by = Some(text.into());
        new.actor.id = text.into();
        new.executor = Some(text.into());
        new.task = jct::domain::Task { idempotency_key: Some(text.into()), objective: text.into(), ..task() };
        new.task.requested_by.id = text.into();
        new.task.requested_by.label = Some(text.into());
        new.task.target.git_ref = text.into();
        new.task.target.path = text.into();
        new.task.inputs = object(json!({text: [text, "\0"]}));
        new.task.metadata = object(json!({"nul\0": text}));
        new.task.acceptance_criteria = vec![text.into()];
        new.task.evidence_requirements = vec![text.into()];
        let recorded = row(store.record_task(new.clone()).await.unwrap());
        assert_eq!(recorded.task, new.task);
        let stored = store.task(recorded.id).await.unwrap();
        assert_eq!(stored.as_ref(), Some(&recorded));
        let by_namespace = TaskFilter { namespace: Some(text.into()), ..TaskFilter::default() };
        assert_eq!(store.tasks(&by_namespace, Page::default()).await.unwrap(), std::slice::from_ref(&recorded));
        let mut begin = start(&recorded, 1);
        begin.job_name = text.into();
        assert_eq!(store.start_attempt(begin).await.unwrap().job_name.as_deref(), Some(text));
        let actor = jct::store::AuditQuery { actor_id: Some(text.into()), ..Default::default() };
        assert_eq!(store.audit(&actor).await.unwrap().len(), 1);
    }
    assert!(matches!(store.verify_audit().await.unwrap(), AuditCheck::Intact { entries: 12, .. }));
}

#[rstest]
#[tokio::test]
async fn lists_are_filtered_and_paged(#[values(Sqlite, Postgres)] backend: Backend) {
    use jct::domain::{ActorKind, Phase, task::Operation, task::Repo};
    let db = Database::fresh(backend).await;
    let store = &db.store;
    for n in 0..7u32 {
        let mut new = new_task(&format!("uid-{n}"));
        new.created_at = at(i64::from(n));
        new.id = Id::derive(new.created_at, &new.uid);
        if n % 2 == 0 {
            new.task.operation = Operation::Ops;
            new.task.requested_by.kind = ActorKind::Agent;
            new.task.target.repo = Repo::parse("acme/other").unwrap();
        }
        new.suspended = n >= 3;
        let recorded = row(store.record_task(new).await.unwrap());
        if n < 3 {
            store.start_attempt(start(&recorded, 1)).await.unwrap();
        }
    }
    let names = async |filter: TaskFilter, page: Page| -> Vec<String> {
        store.tasks(&filter, page).await.unwrap().into_iter().map(|row| row.name).collect()
    };
    let all = TaskFilter::default();
    let page = Page { limit: 3, ..Page::default() };
    assert_eq!(names(all.clone(), page).await, ["uid-6", "uid-5", "uid-4"]);
    let after = Some(store.tasks(&all, page).await.unwrap()[2].id);
    assert_eq!(names(all.clone(), Page { after, ..page }).await, ["uid-3", "uid-2", "uid-1"]);
    assert_eq!(names(all.clone(), Page { offset: 6, ..page }).await, ["uid-0"]);
    let queued = TaskFilter { phase: Some(Phase::Queued), ..all.clone() };
    assert_eq!(names(queued, Page::default()).await, ["uid-2", "uid-1", "uid-0"]);
    let ops = TaskFilter { operation: Some(Operation::Ops), requester_kind: Some(ActorKind::Agent), ..all.clone() };
    assert_eq!(names(ops, Page::default()).await.len(), 4);
    let repo = TaskFilter { target_repo: Some("acme/other".into()), phase: Some(Phase::Pending), ..all.clone() };
    assert_eq!(names(repo, Page::default()).await, ["uid-6", "uid-4"]);
    let trace = TaskFilter { trace_id: Some(jct::domain::TraceId::derive("uid-3")), ..all };
    assert_eq!(names(trace, Page::default()).await, ["uid-3"]);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts["pending"], counts["queued"], counts["failed"]), (4, 3, 0));
    let open = store.unfinished(None).await.unwrap();
    assert_eq!(open.len(), 7);
    assert_eq!(store.unfinished(Some(open[4].id)).await.unwrap(), open[5..]);
}
