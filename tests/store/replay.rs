//! Rows held against the audit log: what somebody changed behind the application's back does not follow from it.

use std::io::BufReader;

use jct::domain::audit::EntityKind;
use jct::domain::checkpoint::Checkpoint;
use jct::domain::cwom::Kind;
use jct::domain::id::sha256_hex;
use jct::signing::{KeyRing, SigningKey, verify_as};
use jct::store::{
    AuditQuery, Check, Database as Whole, EXPORT_TYPE, PatchObject, Patched, Signature, Signer, Store, Trust,
};
use rstest::rstest;
use serde_json::Value;

use crate::audit::rewrite;
use crate::harness::{Backend, Backend::*, Database, ada, at};
use crate::maintenance::{anything, fill};

async fn filled(backend: Backend) -> Database {
    let db = Database::fresh(backend).await;
    fill(&db.store, 0, 6).await;
    db
}

/// Of `uid-0`, which is completed, and `uid-1`, which runs.
#[rstest]
#[case::an_end("UPDATE tasks SET status = 'failed' WHERE uid = 'uid-0'", "status is not what")]
#[case::an_end_made_up(
    "UPDATE tasks SET status = 'completed', completed_at = 1 WHERE uid = 'uid-1'",
    "completed_at, status"
)]
#[case::who("UPDATE tasks SET submitted_by = 'mallory' WHERE uid = 'uid-0'", "submitted_by is not what")]
#[case::who_it_says("UPDATE tasks SET requested_by_id = 'mallory' WHERE uid = 'uid-0'", "requested_by is not what")]
#[case::what("UPDATE tasks SET objective = 'Other' WHERE uid = 'uid-0'", "objective is not what")]
#[case::inputs("UPDATE tasks SET inputs = '{\"depth\": 9}' WHERE uid = 'uid-0'", "inputs is not what")]
#[case::where_it_ran("UPDATE tasks SET source_commit = 'abc' WHERE uid = 'uid-0'", "commit is not what")]
#[case::by_what("UPDATE tasks SET executor = 'mine' WHERE uid = 'uid-0'", "executor is not what")]
#[case::how_often("UPDATE tasks SET max_attempts = 9 WHERE uid = 'uid-0'", "max_attempts is not what")]
#[case::manifest("UPDATE tasks SET manifest_sha256 = 'ab' WHERE uid = 'uid-0'", "manifest_sha256 is not what")]
#[case::not_deleted("UPDATE tasks SET deleted_at = NULL WHERE uid = 'uid-0'", "deleted_at is not what")]
#[case::deleted("UPDATE tasks SET deleted_at = 1 WHERE uid = 'uid-1'", "deleted_at is not what")]
#[case::of_the_attempt("UPDATE jobs SET manifest_sha256 = 'ab' WHERE status = 'completed'", "jobs 01")]
#[case::code("UPDATE jobs SET exit_code = 1 WHERE status = 'completed'", "exit_code is not what")]
#[case::code_made_up("UPDATE jobs SET exit_code = 0 WHERE status = 'running'", "exit_code is not what")]
#[case::a_run_that_goes_on("UPDATE cwom_runs SET status = 'done' WHERE status = 'running'", "status is not what")]
#[case::removal(
    "UPDATE jobs SET trace_removed_at = 1, trace_removed_by = 'a rule'",
    "trace_removed_at or trace_removed_by"
)]
#[case::file("UPDATE artifacts SET checksum = 'ab' WHERE uri LIKE '%report.md'", "they are not the files")]
#[case::file_gone("DELETE FROM artifacts WHERE uri LIKE '%report.md'", "they are not the files")]
#[case::attempt_gone("DELETE FROM jobs WHERE status = 'running'", "jobs 01")]
#[case::object("UPDATE cwom_issues SET spec = replace(spec, 'Describe', 'Do not describe')", "content is not what")]
#[case::object_of_another_type("UPDATE cwom_issues SET type = 'ops'", "content is not what")]
#[case::whose_object("UPDATE cwom_issues SET submitted_by = 'mallory'", "content is not what")]
#[case::object_let_go("UPDATE cwom_runs SET task_id = NULL", "content is not what")]
#[case::whose_spec("UPDATE cwom_issues SET spec_sha256 = 'ab'", "it has a spec_sha256, but no custom resource")]
#[case::a_second_row(
    "UPDATE tasks SET duplicate_of = '01KJMMA2G0DG19KF7NBTWHJQEZ' WHERE uid = 'uid-1'",
    "duplicate_of is not"
)]
#[case::a_superseded_row("UPDATE cwom_runs SET superseded_at = 1", "superseded_at is not what")]
#[case::link_gone("DELETE FROM cwom_issue_context_packets", "the link is missing")]
#[case::link_made_up(
    "INSERT INTO cwom_issue_relations (issue_id, relation, other_id, trace_id, created_at) \
     SELECT MIN(id), 'blocks', MAX(id), MIN(trace_id), 1 FROM cwom_issues",
    "no entry of the audit log says so"
)]
#[case::object_gone("DELETE FROM cwom_artifacts", "the row is missing that entry")]
#[case::object_made_up(
    "INSERT INTO cwom_repos (id, trace_id, namespace, created_at, updated_at, recorded_at, names, spec, slug, visibility) \
     SELECT '01KJMMA2G0DG19KF7NBTWHJQEZ', trace_id, 'other', created_at, updated_at, recorded_at, names, spec, slug, \
     visibility FROM cwom_repos",
    "no entry of the audit log says that it was created"
)]
#[tokio::test]
async fn what_was_changed_is_named(
    #[values(Sqlite, Postgres)] backend: Backend,
    #[case] sql: &str,
    #[case] expected: &str,
) {
    let db = filled(backend).await;
    assert_eq!(db.check().await.problems, [] as [&str; 0], "a control");
    db.execute(sql).await.unwrap();
    let check = db.check().await;
    assert!(check.problems.iter().any(|problem| problem.contains(expected)), "{check:?}");
    assert!(check.audit_head.is_some(), "the log itself was left alone");
}

#[rstest]
#[tokio::test]
async fn an_entry_from_before_tells_less_and_is_no_problem(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = filled(backend).await;
    // As versions before this one wrote it: without what the record has besides, and without the digest of the files.
    let entries = "UPDATE audit_log SET after = replace(after, '\"record\":', '\"earlier\":') WHERE entity_kind = 'Task'; \
                   UPDATE audit_log SET after = replace(after, '\"files_sha256\":', '\"earlier\":') \
                   WHERE entity_kind = 'Trace'";
    db.write_entries_without_codes().await;
    db.execute(entries).await.unwrap();
    let reported = |check: Check| -> Vec<String> {
        let is_of_rows = |problem: &String| !problem.contains("audit log is broken") && !problem.contains("trigger");
        check.problems.into_iter().filter(is_of_rows).collect()
    };
    assert_eq!(reported(db.check().await), [] as [&str; 0]);
    db.execute("UPDATE tasks SET executor = 'mine' WHERE uid = 'uid-0'").await.unwrap();
    assert_eq!(reported(db.check().await), [] as [&str; 0], "the entry does not tell");
    db.execute("UPDATE tasks SET submitted_by = 'mallory' WHERE uid = 'uid-0'").await.unwrap();
    assert_eq!(reported(db.check().await).len(), 1);
    db.execute("DELETE FROM artifacts WHERE uri LIKE '%report.md'").await.unwrap();
    assert!(reported(db.check().await).len() > 1, "the number of files is told");
}

fn ring() -> KeyRing {
    KeyRing::new(SigningKey::from_seed(&[7; 32]).unwrap(), &[], crate::harness::at(0))
}

async fn signed_export(db: &Database, checkpoints: &[Checkpoint]) -> Result<String, String> {
    let (ring, mut out) = (ring(), Vec::new());
    let sign = |payload: &[u8]| ring.signing().sign_as(EXPORT_TYPE, payload);
    let signer = Signer { sign: &sign, keys: ring.to_jwks(), checkpoints };
    let mut whole = Whole::open(&db.settings).await.unwrap();
    whole.export(&mut out, Some(&signer)).await.map_err(|error| error.to_string())?;
    whole.close().await;
    Ok(String::from_utf8(out).unwrap())
}

/// Takes what our key signed, and, if `allow_unsigned`, what nobody did.
async fn import(db: &Database, export: &str, allow_unsigned: bool) -> Result<(), String> {
    let keys = ring().public().to_vec();
    let verify = |signature: &Signature| {
        let verified = verify_as(EXPORT_TYPE, &signature.envelope, &keys);
        verified.map(|(payload, _)| payload).map_err(|problem| problem.to_string())
    };
    let mut whole = Whole::open(&db.settings).await.unwrap();
    let trust = Trust { verify: &verify, allow_unsigned, allow_differences: None };
    let imported = whole.import(&mut BufReader::new(export.as_bytes()), &trust).await;
    whole.close().await;
    imported.map(drop).map_err(|error| error.to_string())
}

/// The export with other rows, and an end that fits them.
fn changed(export: &str, from: &str, to: &str) -> String {
    assert!(export.contains(from), "{from}");
    let export = export.replace(from, to);
    let mut lines: Vec<&str> = export.lines().collect();
    let mut end: Value = serde_json::from_str(lines.pop().unwrap()).unwrap();
    let rows: String = lines[1..].iter().map(|line| format!("{line}\n")).collect();
    end["end"]["rows_sha256"] = sha256_hex(rows.as_bytes()).into();
    format!("{}\n{rows}{end}\n", lines[0])
}

fn unsigned(export: &str) -> String {
    let (rest, end) = export.trim_end().rsplit_once('\n').unwrap();
    let mut end: Value = serde_json::from_str(end).unwrap();
    end.as_object_mut().unwrap().retain(|name, _| name == "end");
    format!("{rest}\n{end}\n")
}

#[rstest]
#[tokio::test]
async fn an_altered_export_is_refused(#[values(Sqlite, Postgres)] backend: Backend) {
    let source = filled(Sqlite).await;
    let export = signed_export(&source, &[]).await.unwrap();
    let into = async |export: &str, allow_unsigned| {
        let copy = Database::fresh(backend).await;
        import(&copy, export, allow_unsigned).await
    };
    assert_eq!(into(&export, false).await, Ok(()), "a control");
    assert_eq!(into(&unsigned(&export), true).await, Ok(()), "a control");

    let submitted = ("\"submitted_by\":\"ada@example.org\"", "\"submitted_by\":\"mallory\"");
    let altered = changed(&export, submitted.0, submitted.1);
    let refused = into(&altered, false).await.unwrap_err();
    assert!(refused.contains("the export was changed"), "{refused}");
    // Not even by who is ready to take anything.
    let refused = into(&altered, true).await.unwrap_err();
    assert!(refused.contains("the export was changed"), "{refused}");
    let refused = into(&unsigned(&altered), true).await.unwrap_err();
    assert!(refused.contains("do not follow from its audit log") && refused.contains("submitted_by"), "{refused}");
    let refused = into(&unsigned(&export), false).await.unwrap_err();
    assert!(refused.contains("--allow-unsigned"), "{refused}");

    let (header, rest) = export.split_once('\n').unwrap();
    let later = header.replace("\"created_at\":\"2", "\"created_at\":\"3");
    let refused = into(&format!("{later}\n{rest}"), false).await.unwrap_err();
    assert!(refused.contains("of another one"), "{refused}");
    let other = SigningKey::from_seed(&[9; 32]).unwrap();
    let (rows, end) = export.trim_end().rsplit_once('\n').unwrap();
    let mut end: Value = serde_json::from_str(end).unwrap();
    let envelope = serde_json::from_value::<jct::domain::provenance::Envelope>(end["signature"].clone()).unwrap();
    end["signature"] = serde_json::to_value(other.sign_as(EXPORT_TYPE, &envelope.payload().unwrap())).unwrap();
    let refused = into(&format!("{rows}\n{end}\n"), false).await.unwrap_err();
    assert!(refused.contains("signed by none of the given keys"), "{refused}");
}

#[rstest]
#[tokio::test]
async fn a_rewritten_log_is_not_signed_by_an_export(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = filled(backend).await;
    let head = db.store.audit_head().await.unwrap();
    let signed = [Checkpoint { seq: head.seq, hash: head.hash, time: crate::harness::at(0) }];
    assert!(signed_export(&db, &signed).await.is_ok(), "a control");
    rewrite(&db, head.seq as i64 - 1).await;
    let refused = signed_export(&db, &signed).await.unwrap_err();
    assert!(refused.contains("it is not signed"), "{refused}");
}

#[rstest]
#[tokio::test]
async fn rows_that_do_not_follow_are_imported_for_who_says_so(#[values(Sqlite, Postgres)] backend: Backend) {
    let source = filled(Sqlite).await;
    source.execute("UPDATE tasks SET submitted_by = 'mallory' WHERE uid = 'uid-0'").await.unwrap();
    let export = signed_export(&source, &[]).await.unwrap();
    let copy = Database::fresh(backend).await;
    let refused = import(&copy, &export, false).await.unwrap_err();
    assert!(refused.contains("--allow-differences") && refused.contains("submitted_by"), "{refused}");

    // The same command goes on with that database.
    let trust = Trust { allow_differences: Some("ada"), ..anything() };
    let mut whole = Whole::open(&copy.settings).await.unwrap();
    let unsigned = unsigned(&export);
    let imported = whole.import(&mut BufReader::new(unsigned.as_bytes()), &trust).await.unwrap();
    whole.close().await;
    assert_eq!(imported.differences, 1);
    let store = Store::open(&copy.settings).await.unwrap();
    let query = AuditQuery { entity_kind: Some(EntityKind::Database), ..AuditQuery::default() };
    let reported = store.audit(&query).await.unwrap().remove(0);
    let after = reported.after.unwrap();
    assert_eq!((after["asked_by"].as_str(), after["differences_left_out"].as_u64()), (Some("ada"), Some(0)));
    let id = store.task_by_uid("uid-0").await.unwrap().unwrap().id;
    assert_eq!(
        after["differences"],
        serde_json::json!([format!("tasks {id}: submitted_by is not what the audit log says")])
    );
    assert_eq!(store.audit_head().await.unwrap().hash, imported.audit_head);
    store.close().await;
    let found = copy.check().await;
    assert_eq!((found.problems.len(), found.audit_head), (1, Some(imported.audit_head)), "nothing is whitewashed");

    // Where nothing differs, nothing is said.
    let same = Database::fresh(backend).await;
    let mut whole = Whole::open(&same.settings).await.unwrap();
    let export = signed_export(&filled(Sqlite).await, &[]).await.unwrap();
    let imported = whole.import(&mut BufReader::new(self::unsigned(&export).as_bytes()), &trust).await.unwrap();
    whole.close().await;
    assert_eq!(imported.differences, 0);
    assert_eq!(same.number("SELECT COUNT(*) FROM audit_log WHERE entity_kind = 'Database'").await, 0);
}

#[rstest]
#[tokio::test]
async fn the_digest_of_a_custom_resource_is_bound(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    crate::objects::chain(&db.store).await;
    assert_eq!(db.check().await.problems, [] as [&str; 0], "a control");
    for sql in ["UPDATE cwom_issues SET spec_sha256 = 'ab'", "UPDATE cwom_issues SET spec_sha256 = NULL"] {
        db.execute(sql).await.unwrap();
        let check = db.check().await;
        assert!(check.problems.iter().any(|problem| problem.contains("record is not what")), "{check:?}");
    }
}

/// Objects that are made for a Task are told by a digest of what they were at first: what is changed since is told.
#[rstest]
#[tokio::test]
async fn a_change_of_what_a_task_made_is_told_from_one_that_nobody_made(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = filled(backend).await;
    let store = &db.store;
    let of = store.task_by_uid("uid-0").await.unwrap().unwrap();
    let id = of.cwom_issue_id.unwrap();
    let patch = |change: Value| PatchObject { kind: Kind::Issue, id, change, actor: ada(), at: at(500) };
    let long = "x".repeat(3000);
    for change in [
        serde_json::json!({"title": "Another", "priority": "P0"}),
        serde_json::json!({"tags": ["api"], "description": null}),
        serde_json::json!({"title": "A third", "meta": {"note": long}}),
        serde_json::json!({"tags": [], "meta": {"note": "short"}}),
    ] {
        let patched = store.patch_object(patch(change.clone())).await.unwrap();
        assert!(matches!(patched, Patched::Patched(_)), "{change}: {patched:?}");
        assert_eq!(db.check().await.problems, [] as [&str; 0], "{change}");
    }
    // A field that was changed is held against its last entry, any other against the digest.
    for (sql, expected) in [
        ("UPDATE cwom_issues SET spec = replace(spec, 'A third', 'A fourth')", "title is not what"),
        ("UPDATE cwom_issues SET type = 'ops'", "content is not what"),
    ] {
        db.execute(sql).await.unwrap();
        let check = db.check().await;
        assert!(check.problems.iter().any(|problem| problem.contains(expected)), "{sql}: {check:?}");
    }
}
