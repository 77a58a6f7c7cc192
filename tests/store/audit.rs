use jct::domain::audit::{Action, EntityKind};
use jct::domain::checkpoint::Checkpoint;
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
#[case::head_went_back(
    "UPDATE audit_head SET seq = 17, hash = (SELECT hash FROM audit_log WHERE seq = 17)",
    18,
    false,
    "beyond the head"
)]
#[case::before_the_first(
    "INSERT INTO audit_log SELECT -3, 'X', ts, actor_kind, actor_id, action, entity_kind, entity_id, before, after, note, \
     trace_id, prev_hash, hash FROM audit_log WHERE seq = 1",
    0,
    false,
    "before the first"
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
    assert_eq!(count(AuditQuery { action: Some(Action::StatusChanged), ..entity }).await, 1);
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

/// What a foreign connection may be set to. The application's own has `recursive_triggers` besides.
#[tokio::test]
async fn an_entry_is_not_replaced_by_an_insert() {
    let db = Database::fresh(Sqlite).await;
    three_lives(&db.store).await;
    let replaced = "INSERT OR REPLACE INTO audit_log SELECT seq, id, ts, actor_kind, 'mallory', action, entity_kind, entity_id, \
                    before, after, note, trace_id, prev_hash, hash FROM audit_log WHERE seq = 7";
    let refused = db.execute(replaced).await.unwrap_err().to_string();
    assert!(refused.contains("append-only"), "{refused}");
    db.unprotect_audit().await;
    db.execute(replaced).await.unwrap();
    let check = db.store.verify_audit().await.unwrap();
    assert!(
        matches!(check, AuditCheck::Broken { seq: 7, .. }),
        "where the trigger was dropped, it is found: {check:?}"
    );
}

/// Everything from entry `from` on as one has it who owns the database: another actor, and a chain that holds.
pub async fn rewrite(db: &Database, from: i64) {
    db.unprotect_audit().await;
    let mut lines = Vec::new();
    let mut whole = jct::store::Database::open(&db.settings).await.unwrap();
    whole.export(&mut lines, None).await.unwrap();
    let text = String::from_utf8(lines).unwrap();
    let mut last = String::new();
    for line in text.lines().filter(|line| line.starts_with("{\"table\":\"audit_log\"")) {
        let mut row = serde_json::from_str::<serde_json::Value>(line).unwrap()["row"].clone();
        let seq = row["seq"].as_i64().unwrap();
        if seq >= from {
            row["actor_id"] = "mallory".into();
            row["prev_hash"] = last.clone().into();
            let hash = hash_of(&row);
            let sql = format!(
                "UPDATE audit_log SET actor_id = 'mallory', prev_hash = '{last}', hash = '{hash}' WHERE seq = {seq}"
            );
            db.execute(&sql).await.unwrap();
            last = hash;
        } else {
            last = row["hash"].as_str().unwrap().into();
        }
    }
    db.execute(&format!("UPDATE audit_head SET hash = '{last}'")).await.unwrap();
}

/// As `crates/store/src/audit/chain.rs` tells everybody.
fn hash_of(row: &serde_json::Value) -> String {
    let columns = [
        "prev_hash",
        "seq",
        "id",
        "ts",
        "actor_kind",
        "actor_id",
        "action",
        "entity_kind",
        "entity_id",
        "before",
        "after",
        "note",
        "trace_id",
    ];
    let mut hashed = b"jct-audit-v1".to_vec();
    for column in columns {
        let text = match &row[column] {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        match text {
            None => hashed.push(0),
            Some(text) => {
                hashed.push(1);
                hashed.extend((text.len() as u64).to_be_bytes());
                hashed.extend(text.as_bytes());
            }
        }
    }
    jct::domain::id::sha256_hex(&hashed)
}

async fn checkpoint(store: &Store) -> Checkpoint {
    let head = store.audit_head().await.unwrap();
    Checkpoint { seq: head.seq, hash: head.hash, time: crate::harness::at(0) }
}

#[rstest]
#[tokio::test]
async fn a_checkpoint_convicts_who_rewrites_the_log(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    for uid in ["d", "e"] {
        row(db.store.record_task(new_task(uid)).await.unwrap());
    }
    let early = checkpoint(&db.store).await;
    three_lives(&db.store).await;
    let late = checkpoint(&db.store).await;
    row(db.store.record_task(new_task("f")).await.unwrap());
    let signed = [early.clone(), late.clone()];
    let check = db.store.verify_audit_against(&signed).await.unwrap();
    assert!(matches!(check.check, AuditCheck::Intact { entries: 21, .. }));
    assert_eq!(check.anchor, Some(late.clone()));
    assert!(db.store.audit_since(&early).await.unwrap().is_ok());

    rewrite(&db, 7).await;
    let alone = db.store.verify_audit().await.unwrap();
    assert!(matches!(alone, AuditCheck::Intact { entries: 21, .. }), "a control: the chain holds in itself: {alone:?}");
    let check = db.store.verify_audit_against(&signed).await.unwrap();
    let AuditCheck::Broken { seq: 20, problem, .. } = check.check else { panic!("{check:?}") };
    assert!(problem.contains("up to entry 2 it is as signed"), "{problem}");
    assert!(db.store.audit_since(&late).await.unwrap().is_err());

    let early_alone = db.store.verify_audit_against(&signed[..1]).await.unwrap();
    assert_eq!(early_alone.anchor, Some(early), "what was signed before the change still is as signed");
}

#[rstest]
#[tokio::test]
async fn a_checkpoint_convicts_who_cuts_the_log_off(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    three_lives(&db.store).await;
    let signed = [checkpoint(&db.store).await];
    db.unprotect_audit().await;
    db.execute(
        "DELETE FROM audit_log WHERE seq > 8; UPDATE audit_head SET seq = 8, \
         hash = (SELECT hash FROM audit_log WHERE seq = 8)",
    )
    .await
    .unwrap();
    assert!(matches!(db.store.verify_audit().await.unwrap(), AuditCheck::Intact { entries: 8, .. }), "a control");
    let check = db.store.verify_audit_against(&signed).await.unwrap().check;
    let AuditCheck::Broken { seq: 9, problem, .. } = check else { panic!("{check:?}") };
    assert!(problem.contains("10 entries are missing at the end"), "{problem}");
    let since = db.store.audit_since(&signed[0]).await.unwrap().unwrap_err();
    assert!(matches!(since, AuditCheck::Broken { seq: 9, .. }), "{since:?}");
}

#[tokio::test]
async fn two_signed_histories_are_one_too_many() {
    let db = Database::fresh(Sqlite).await;
    three_lives(&db.store).await;
    let one = checkpoint(&db.store).await;
    let other = Checkpoint { hash: "ab".repeat(32), ..one.clone() };
    let check = db.store.verify_audit_against(&[one, other]).await.unwrap().check;
    assert!(matches!(check, AuditCheck::Broken { seq: 18, .. }), "{check:?}");
}
