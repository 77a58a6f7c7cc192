use jct::domain::audit::EntityKind;
use jct::domain::denial::{Door, Request};
use jct::domain::{Actor, Code, Denial, Finding, TraceId};
use jct::store::{AuditCheck, AuditQuery};
use rstest::rstest;

use crate::harness::{Backend, Backend::*, Database, at, audit, new_task, row};

pub fn denial(uid: &str) -> Denial {
    Denial {
        door: Door::Kubernetes,
        uid: uid.into(),
        actor: Actor::authenticated("eve@example.org"),
        submitted_by: Some("eve@example.org".into()),
        trace_id: TraceId::derive(uid),
        namespace: "team".into(),
        name: Some("t".into()),
        generate_name: None,
        kind: "Task".into(),
        request: Request::Create,
        findings: vec![
            Finding::new(Code::RepoNotAllowed, "spec.target.repo", "evil/x is not allowed"),
            Finding::new(Code::InvalidSpec, "spec.objective", "is required"),
            Finding::new(Code::InvalidSpec, "spec.priority", "is not a field"),
        ],
        findings_left_out: 0,
        spec_sha256: "ab".repeat(32),
        denied_at: at(0),
    }
}

#[rstest]
#[tokio::test]
async fn a_denial_is_an_entry_without_a_row(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    db.store.record_denials(vec![denial("request-1")]).await.unwrap();
    assert_eq!(db.rows().await, [0, 0, 0, 1]);
    insta::assert_json_snapshot!("denied", audit(&db.store).await);
}

#[rstest]
#[tokio::test]
async fn a_request_is_denied_once(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let first = Denial { name: Some("first".into()), ..denial("a") };
    db.store.record_denials(vec![first, denial("a"), denial("b")]).await.unwrap();
    db.store.record_denials(vec![denial("b"), denial("c"), denial("nul \0")]).await.unwrap();
    db.store.record_denials(vec![denial("nul \0"), denial("a")]).await.unwrap();
    let log = audit(&db.store).await;
    let kept: Vec<&str> = log.as_array().unwrap().iter().map(|entry| entry["entity_id"].as_str().unwrap()).collect();
    assert_eq!(kept, ["a", "b", "c", "nul \u{fffd}"]);
    assert_eq!(log[0]["after"]["name"], "first");
}

#[rstest]
#[tokio::test]
async fn many_are_one_link_each_of_the_chain(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    row(db.store.record_task(new_task("a")).await.unwrap());
    let many = (0..500).map(|n| denial(&n.to_string())).collect();
    let (denied, recorded) = futures::join!(db.store.record_denials(many), db.store.record_task(new_task("b")));
    denied.unwrap();
    row(recorded.unwrap());
    assert!(matches!(db.store.verify_audit().await.unwrap(), AuditCheck::Intact { entries: 502, .. }));
    let asked = AuditQuery {
        entity_kind: Some(EntityKind::AdmissionDenial),
        actor_id: Some("eve@example.org".into()),
        entity_id: Some("77".into()),
        ..AuditQuery::default()
    };
    assert_eq!(db.store.audit(&asked).await.unwrap().len(), 1);
}
