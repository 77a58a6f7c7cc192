use jct::domain::audit::EntityKind;
use jct::domain::denial::{Interface, LeftOut, Notice, Repeats, Request};
use jct::domain::{Actor, Code, Denial, Finding, TraceId};
use jct::store::{AuditCheck, AuditQuery};
use rstest::rstest;
use serde_json::json;

use crate::harness::{Backend, Backend::*, Database, at, audit, new_task, row};

pub fn denial(uid: &str) -> Denial {
    Denial {
        interface: Interface::Kubernetes,
        uid: uid.into(),
        actor: Actor::authenticated("eve@example.org"),
        authenticated: true,
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

#[rstest]
#[tokio::test]
async fn what_nobody_vouches_for_is_not_said_of_a_user(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let forged = Denial { authenticated: false, ..denial("a") };
    let more = Repeats { first: forged.clone(), count: 7, last_at: at(60) };
    db.store.record_denials(vec![Notice::Denied(forged), Notice::Repeated(more)]).await.unwrap();
    for entry in audit(&db.store).await.as_array().unwrap() {
        assert_eq!((&entry["actor_kind"], &entry["actor_id"]), (&json!("system"), &json!("jct-webhook")));
        assert_eq!(
            (&entry["after"]["user"], &entry["after"]["authenticated"]),
            (&json!("eve@example.org"), &json!(false))
        );
        let note = entry["note"].as_str().unwrap();
        assert!(note.contains("reported by admission, caller not authenticated"), "{note}");
    }
}

#[rstest]
#[tokio::test]
async fn counts_are_entries_of_their_own(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let repeats = Repeats { first: denial("a"), count: 7, last_at: at(60) };
    let left_out = LeftOut {
        uid: "left-out".into(),
        by_namespace: [("team".into(), 3)].into(),
        elsewhere: 4,
        since: at(0),
        until: at(60),
    };
    let notices = vec![denial("a").into(), Notice::Repeated(repeats), Notice::LeftOut(left_out.clone())];
    db.store.record_denials(notices).await.unwrap();
    db.store.record_denials(vec![Notice::LeftOut(left_out)]).await.unwrap();
    insta::assert_json_snapshot!("counts", audit(&db.store).await.as_array().unwrap()[1..]);
}
