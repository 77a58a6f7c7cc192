use jct::domain::audit::{Action, EntityKind};
use jct::domain::{ActorKind, TraceId};
use jct::store::{AuditCheck, AuditQuery, Order, Page, Store};
use rstest::rstest;

use crate::harness::{Backend, Backend::*, Database, completed, end, new_task, row, start};

async fn three_lives(store: &Store) {
    for uid in ["a", "b", "c"] {
        let recorded = row(store.record_task(new_task(uid)).await.unwrap());
        store.start_attempt(start(&recorded, 1)).await.unwrap();
        store.finish_attempt(end(&recorded, 1, completed())).await.unwrap();
    }
}

#[rstest]
#[tokio::test]
async fn an_untouched_log_verifies(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let genesis = "0".repeat(64);
    assert_eq!(db.store.verify_audit().await.unwrap(), AuditCheck::Intact { entries: 0, head: genesis });
    three_lives(&db.store).await;
    let AuditCheck::Intact { entries: 18, head } = db.store.verify_audit().await.unwrap() else { panic!() };
    let again = Store::open(&db.settings).await.unwrap();
    assert_eq!(again.verify_audit().await.unwrap(), AuditCheck::Intact { entries: 18, head }, "also after a restart");
}

#[rstest]
#[tokio::test]
async fn the_log_is_append_only(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    three_lives(&db.store).await;
    for sql in [
        "UPDATE audit_log SET note = 'x' WHERE seq = 3",
        "DELETE FROM audit_log WHERE seq = 3",
        "DELETE FROM audit_log",
    ] {
        let refused = db.execute(sql).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
    assert!(matches!(db.store.verify_audit().await.unwrap(), AuditCheck::Intact { entries: 18, .. }));
}

#[rstest]
#[case::changed("UPDATE audit_log SET actor_id = 'mallory' WHERE seq = 7", 7, true, "changed")]
#[case::emptied("UPDATE audit_log SET before = '' WHERE seq = 7", 7, true, "changed")]
#[case::redated("UPDATE audit_log SET ts = ts + 1 WHERE seq = 18", 18, true, "changed")]
#[case::removed("DELETE FROM audit_log WHERE seq = 7", 7, false, "missing")]
#[case::first_removed("DELETE FROM audit_log WHERE seq = 1", 1, false, "missing")]
#[case::last_removed("DELETE FROM audit_log WHERE seq = 18", 18, false, "missing at the end")]
#[case::rehashed("UPDATE audit_log SET note = 'x', hash = '0' WHERE seq = 7", 7, true, "changed")]
#[case::moved(
    "UPDATE audit_log SET seq = 99 WHERE seq = 7; UPDATE audit_log SET seq = 7 WHERE seq = 8; \
     UPDATE audit_log SET seq = 8 WHERE seq = 99",
    7,
    true,
    "does not follow"
)]
#[tokio::test]
async fn tampering_is_found_and_named(
    #[values(Sqlite, Postgres)] backend: Backend,
    #[case] sql: &str,
    #[case] place: u64,
    #[case] named: bool,
    #[case] word: &str,
) {
    let db = Database::fresh(backend).await;
    three_lives(&db.store).await;
    db.unprotect_audit().await;
    db.execute(sql).await.unwrap();
    match db.store.verify_audit().await.unwrap() {
        AuditCheck::Broken { seq, id, problem } => {
            assert_eq!((seq, id.is_some()), (place, named));
            assert!(problem.contains(word), "{problem}");
        }
        intact => panic!("{intact:?}"),
    }
}

#[rstest]
#[tokio::test]
async fn entries_are_found_by_what_they_say(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    three_lives(store).await;
    let count = async |query: AuditQuery| store.audit(&query).await.unwrap().len();
    let any = AuditQuery::default();
    let a = new_task("a");
    assert_eq!(count(any.clone()).await, 18);
    let entity = AuditQuery { entity_kind: Some(EntityKind::Task), entity_id: Some(a.id.to_string()), ..any.clone() };
    assert_eq!(count(entity.clone()).await, 3);
    assert_eq!(count(AuditQuery { action: Some(Action::StatusChanged), ..entity }).await, 2);
    assert_eq!(count(AuditQuery { trace_id: Some(TraceId::derive("a")), ..any.clone() }).await, 6);
    assert_eq!(count(AuditQuery { actor_kind: Some(ActorKind::Human), ..any.clone() }).await, 3);
    assert_eq!(count(AuditQuery { actor_id: Some("jct-controller".into()), ..any.clone() }).await, 15);
    assert_eq!(count(AuditQuery { entity_kind: Some(EntityKind::Trace), ..any.clone() }).await, 3);

    let all = store.audit(&any).await.unwrap();
    let (newest, oldest) = (all[0].ts, all[17].ts);
    assert_eq!(count(AuditQuery { since: Some(oldest), ..any.clone() }).await, 18);
    assert_eq!(count(AuditQuery { until: Some(oldest), ..any.clone() }).await, 0);
    assert!(count(AuditQuery { since: Some(newest), ..any.clone() }).await >= 1);

    let mut walked = Vec::new();
    let mut page = Page { limit: 5, ..Page::default() };
    loop {
        let part = store.audit(&AuditQuery { order: Order::OldestFirst, page, ..any.clone() }).await.unwrap();
        let Some(last) = part.last() else { break };
        page.after = Some(last.id);
        walked.extend(part);
    }
    walked.reverse();
    assert_eq!(walked, all);
}
