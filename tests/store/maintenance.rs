//! The database as a whole: checked, exported, imported.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write as _};

use jct::domain::Denial;
use jct::store::{Database as Whole, NewTask, RecordDeleted, Recording, Store, StoreError, TransferError, Trust};
use rstest::rstest;
use serde_json::Value;

use crate::denials::denial;
use crate::harness::{Backend, Backend::*, Database, ada, at, completed, end, new_task, row, running, start, with_key};

/// Something in every table that Tasks reach, and more audit entries than a page of an export takes.
pub async fn fill(store: &Store, from: usize, tasks: usize) {
    for n in from..from + tasks {
        let new = NewTask { create_cwom: true, ..with_key(&format!("uid-{n}"), &format!("key é{n}")) };
        let recorded = row(store.record_task(new).await.unwrap());
        store.start_attempt(start(&recorded, 1)).await.unwrap();
        store.mark_running(running(&recorded, 1)).await.unwrap();
        if n % 2 == 0 {
            store.finish_attempt(end(&recorded, 1, completed())).await.unwrap();
            let deleted =
                RecordDeleted { id: recorded.id, uid: recorded.uid.clone(), actor: ada(), note: None, at: at(99) };
            store.record_deleted(deleted).await.unwrap();
        }
    }
    deny(store, &from.to_string(), 150).await;
}

async fn deny(store: &Store, name: &str, times: usize) {
    let denials: Vec<Denial> = (0..times).map(|n| denial(&format!("{name}-{n}"))).collect();
    store.record_denials(denials).await.unwrap();
}

async fn whole(db: &Database) -> Whole {
    Whole::open(&db.settings).await.unwrap()
}

pub async fn export(db: &Database) -> String {
    let mut out = Vec::new();
    let mut database = whole(db).await;
    let exported = database.export(&mut out, None).await.unwrap();
    database.close().await;
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count() as u64, exported.rows.values().sum::<u64>() + 2);
    text
}

/// Also what is not signed.
pub fn anything() -> Trust<'static> {
    Trust { verify: &|_| Err("no key is believed".into()), allow_unsigned: true, allow_differences: None }
}

pub async fn import(db: &Database, export: &str) -> Result<u64, TransferError> {
    let mut database = whole(db).await;
    let imported = database.import(&mut BufReader::new(export.as_bytes()), &anything()).await;
    database.close().await;
    Ok(imported?.resumed_after)
}

pub async fn problems(db: &Database) -> Vec<String> {
    let mut database = whole(db).await;
    let check = database.check().await.unwrap();
    database.close().await;
    assert_eq!(check.problems.is_empty(), check.audit_head.is_some(), "{check:?}");
    check.problems
}

/// All but the first line, which has the time.
pub fn rows(export: &str) -> &str {
    export.split_once('\n').unwrap().1
}

async fn filled(backend: Backend) -> Database {
    let db = Database::fresh(backend).await;
    fill(&db.store, 0, 6).await;
    db
}

#[rstest]
#[tokio::test]
async fn the_list_of_tables_is_the_schema(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let mut database = whole(&db).await;
    let check = database.check().await.unwrap();
    assert_eq!(
        check.problems,
        [] as [&str; 0],
        "a column is missing in the columns! list of its table, or a table in crates/store/src/maintenance/tables.rs"
    );
    assert_eq!(check.other_tables, [] as [&str; 0], "add the table to crates/store/src/maintenance/tables.rs");
    db.execute("ALTER TABLE jobs ADD COLUMN mood TEXT; CREATE TABLE mine (id BIGINT)").await.unwrap();
    let check = database.check().await.unwrap();
    assert_eq!(
        (check.problems, check.other_tables),
        (vec!["jobs.mood is not of this version".into()], vec!["mine".into()])
    );
}

#[rstest]
#[case(Sqlite, Postgres)]
#[case(Postgres, Sqlite)]
#[tokio::test]
async fn there_and_back_is_the_same(#[case] here: Backend, #[case] there: Backend) {
    let first = filled(here).await;
    let original = export(&first).await;
    assert_eq!(problems(&first).await, [] as [&str; 0]);
    let (second, third) = (Database::fresh(there).await, Database::fresh(here).await);
    assert_eq!(import(&second, &original).await.unwrap(), 0);
    assert_eq!(problems(&second).await, [] as [&str; 0]);
    let copy = export(&second).await;
    assert_eq!(rows(&copy), rows(&original));
    import(&third, &copy).await.unwrap();
    assert_eq!(rows(&export(&third).await), rows(&original));

    // And one goes on there.
    let store = Store::open(&second.settings).await.unwrap();
    assert!(matches!(
        store.record_task(NewTask { create_cwom: true, ..with_key("other", "key é3") }).await.unwrap(),
        Recording::Duplicate { .. }
    ));
    let open = row(store.record_task(with_key("uid-1", "key é1")).await.unwrap());
    assert_eq!(store.finish_attempt(end(&open, 1, completed())).await.unwrap().phase.as_str(), "completed");
    assert_eq!(problems(&second).await, [] as [&str; 0]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_of_one_moment(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = filled(backend).await;
    let store = db.store.clone();
    let writing = tokio::spawn(async move {
        for n in 100.. {
            let recorded = row(store.record_task(new_task(&format!("uid-{n}"))).await.unwrap());
            store.start_attempt(start(&recorded, 1)).await.unwrap();
            store.finish_attempt(end(&recorded, 1, completed())).await.unwrap();
        }
    });
    for _ in 0..3 {
        let copy = Database::fresh(Sqlite).await;
        import(&copy, &export(&db).await).await.unwrap();
        assert_eq!(problems(&copy).await, [] as [&str; 0], "no row refers to what is not there");
    }
    writing.abort();
}

#[rstest]
#[tokio::test]
async fn a_resumed_export_is_of_one_moment_too(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = filled(backend).await;
    let original = export(&db).await;
    let folder = tempfile::tempdir().unwrap();
    let resume = async |length: usize| {
        let path = folder.path().join("export");
        std::fs::write(&path, &original[..original.floor_char_boundary(length)]).unwrap();
        let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let resumed = whole(&db).await.resume_export(&mut file, None).await?;
        Ok::<_, TransferError>((resumed.resumed_after, std::fs::read_to_string(&path).unwrap()))
    };
    let header = original.find('\n').unwrap() + 1;
    let audit_log = original.find("{\"table\":\"tasks\"").unwrap();
    let end = original.find("{\"end\"").unwrap();
    let entries = original[..audit_log].lines().count() as u64 - 1;
    let in_tasks = audit_log + original[audit_log..].find('\n').unwrap() + 10;
    let cuts = [(header, 0), (header + 20, 0), (audit_log, entries), (in_tasks, entries + 1), (end + 9, entries + 48)];
    for (length, kept) in cuts {
        let (resumed_after, text) = resume(length).await.unwrap();
        assert_eq!(text, original, "cut at {length}");
        assert!(resumed_after == kept || length == end + 9, "{resumed_after} rows of {kept} were kept at {length}");
    }
    assert!(resume(10).await.unwrap_err().to_string().contains("no export"));
    assert!(resume(original.len()).await.unwrap_err().to_string().contains("is finished"));

    // Rows have changed since: those that are not of the audit log are read again.
    fill(&db.store, 50, 2).await;
    let now = export(&db).await;
    for length in [header, header + 5000, audit_log + 5000, end] {
        let (resumed_after, text) = resume(length).await.unwrap();
        assert_eq!(rows(&text), rows(&now), "cut at {length}");
        assert!(resumed_after <= entries);
    }
    let other = Database::fresh(backend).await;
    fill(&other.store, 0, 6).await;
    let path = folder.path().join("export");
    std::fs::write(&path, &original[..in_tasks]).unwrap();
    let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let refused = whole(&other).await.resume_export(&mut file, None).await.unwrap_err();
    assert!(refused.to_string().contains("of another database"), "{refused}");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), in_tasks as u64, "and left as it was");
}

#[rstest]
#[tokio::test]
async fn a_disk_that_is_full_breaks_an_export_off_and_no_more(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = filled(backend).await;
    let mut full = File::options().write(true).open("/dev/full").unwrap();
    let mut database = whole(&db).await;
    let error = database.export(&mut full, None).await.unwrap_err();
    assert!(matches!(error, TransferError::Io(_)), "{error}");
    full.flush().unwrap();
    assert_eq!(export(&db).await.lines().next().map(|line| line.contains("jct-export")), Some(true));
}

/// The beginning of an export, and then the connection is gone.
struct Torn<'e>(&'e [u8]);

impl Read for Torn<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            read => Ok(read),
        }
    }
}

#[rstest]
#[tokio::test]
async fn an_import_that_broke_off_goes_on(#[values(Sqlite, Postgres)] backend: Backend) {
    let source = filled(Sqlite).await;
    // More than one transaction takes.
    deny(&source.store, "many", 2100).await;
    let original = export(&source).await;
    let copy = Database::fresh(backend).await;
    copy.store.close().await;
    let mut torn = BufReader::new(Torn(&original.as_bytes()[..original.len() - 500]));
    let error = whole(&copy).await.import(&mut torn, &anything()).await.unwrap_err();
    assert!(matches!(error, TransferError::Io(_)), "{error}");

    assert_eq!(
        Store::open(&copy.settings).await.unwrap_err(),
        StoreError::ImportUnfinished,
        "nothing runs on half a record"
    );
    let unfinished = whole(&copy).await.check().await.unwrap().problems;
    assert!(unfinished.len() == 1 && unfinished[0].contains("not finished"), "{unfinished:?}");
    assert!(whole(&copy).await.export(&mut Vec::new(), None).await.is_err());
    let other = filled(Sqlite).await;
    let refused = import(&copy, &export(&other).await).await.unwrap_err();
    assert!(refused.to_string().contains("another export"), "{refused}");
    let cut = &original[..original.find("{\"end\"").unwrap()];
    let refused = import(&copy, cut).await.unwrap_err();
    assert!(refused.to_string().contains("--resume"), "{refused}");

    assert!(import(&copy, &original).await.unwrap() >= 2000);
    assert_eq!(rows(&export(&copy).await), rows(&original));
    Store::open(&copy.settings).await.unwrap().verify_audit().await.unwrap();
}

#[rstest]
#[tokio::test]
async fn what_is_no_whole_export_is_not_imported(#[values(Sqlite, Postgres)] backend: Backend) {
    let source = filled(Sqlite).await;
    let original = export(&source).await;
    let changed = |from: &str, to: &str| {
        assert!(original.contains(from), "{from}");
        original.replacen(from, to, 1)
    };
    let entry = original.lines().nth(1).unwrap();
    let cases = [
        (String::new(), "no export"),
        ("hello\n".into(), "not the first line"),
        (changed("\"version\":1", "\"version\":2"), "is not understood"),
        (changed("\"schema\":", "\"schema\":9"), "of the schema"),
        (changed("\"table\":\"tasks\"", "\"table\":\"sqlite_master\""), "no table sqlite_master"),
        (changed("\"objective\":", "\"subjective\":"), "objective is missing"),
        (changed("\"max_attempts\":2", "\"max_attempts\":\"2\""), "max_attempts must not be"),
        (changed("\"max_attempts\":2", "\"max_attempts\":3"), "changed or damaged"),
        (changed(&format!("{entry}\n"), ""), "changed or damaged"),
        (changed(entry, &format!("{entry}\n{entry}")), "do not fit the database"),
        (original[..original.len() - 20].into(), "is unfinished"),
    ];
    for (export, expected) in cases {
        let copy = Database::fresh(backend).await;
        let refused = import(&copy, &export).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{expected}: {refused}");
    }
}

#[rstest]
#[tokio::test]
async fn a_log_that_does_not_hold_is_not_imported(#[values(Sqlite, Postgres)] backend: Backend) {
    let source = filled(Sqlite).await;
    source.unprotect_audit().await;
    source.execute("UPDATE audit_log SET actor_id = 'mallory' WHERE seq = 7").await.unwrap();
    let tampered = export(&source).await;
    let copy = Database::fresh(backend).await;
    let refused = import(&copy, &tampered).await.unwrap_err().to_string();
    assert!(refused.contains("does not hold, at entry 7"), "{refused}");
}

#[rstest]
#[tokio::test]
async fn a_database_in_use_is_not_imported_into(#[values(Sqlite, Postgres)] backend: Backend) {
    let (source, used) = (filled(Sqlite).await, Database::fresh(backend).await);
    let original = export(&source).await;
    row(used.store.record_task(new_task("a")).await.unwrap());
    let before = export(&used).await;
    let refused = import(&used, &original).await.unwrap_err().to_string();
    assert!(refused.contains("not empty") && refused.contains("tasks 1"), "{refused}");
    assert_eq!(rows(&export(&used).await), rows(&before));
    assert_eq!(problems(&used).await, [] as [&str; 0]);
}

#[rstest]
#[tokio::test]
async fn a_new_database_is_migrated_and_says_so(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let mut database = whole(&db).await;
    let current = database.migrate().await.unwrap();
    assert_eq!(current.from, current.to);
    let (folder, url);
    let settings = match backend {
        Sqlite => {
            folder = tempfile::tempdir().unwrap();
            url = format!("sqlite://{}", folder.path().join("new.db").display());
            jct::store::StoreSettings::new(url.parse().unwrap())
        }
        Postgres => jct::store::StoreSettings::new(crate::postgres::fresh().await.parse().unwrap()),
    };
    if matches!(backend, Sqlite) {
        assert_eq!(
            Whole::open(&settings).await.map(drop).unwrap_err().category(),
            "unavailable",
            "none is made by looking"
        );
    }
    let mut new = Whole::open_or_create(&settings).await.unwrap();
    let unmigrated = new.check().await.unwrap().problems;
    assert!(unmigrated.iter().all(|problem| problem.contains("jct db migrate")) && !unmigrated.is_empty());
    assert!(new.export(&mut Vec::new(), None).await.unwrap_err().to_string().contains("jct db migrate"));
    let migrated = new.migrate().await.unwrap();
    assert_eq!((migrated.from, migrated.to), (0, current.to));
    assert_eq!(new.check().await.unwrap().problems, [] as [&str; 0]);
}

#[rstest]
#[case::word("UPDATE tasks SET status = 'dancing' WHERE uid = 'uid-1'", &["tasks 01", "dancing"])]
#[case::json("UPDATE tasks SET inputs = '{' WHERE uid = 'uid-1'", &["tasks 01", "EOF"])]
#[case::range("UPDATE jobs SET attempt = -1 WHERE task_id = (SELECT MIN(id) FROM tasks)", &["jobs 01", "-1"])]
#[case::object("UPDATE cwom_issues SET spec = '[]'", &["cwom_issues 01"])]
#[case::nothing_of_an_object("UPDATE cwom_issues SET spec = '{}'", &["Issue 01", "content is not what"])]
#[case::head("UPDATE audit_head SET seq = seq + 1", &["audit log is broken"])]
#[tokio::test]
async fn damage_is_named(#[values(Sqlite, Postgres)] backend: Backend, #[case] sql: &str, #[case] expected: &[&str]) {
    let db = filled(backend).await;
    assert_eq!(problems(&db).await, [] as [&str; 0]);
    db.execute(sql).await.unwrap();
    let found = whole(&db).await.check().await.unwrap().problems;
    let named = found.iter().any(|problem| expected.iter().all(|part| problem.contains(part)));
    assert!(named, "{found:?}");
}

#[rstest]
#[case::sqlite_trigger(
    Sqlite,
    "DROP TRIGGER audit_log_no_delete",
    "the trigger audit_log_no_delete of audit_log is missing"
)]
#[case::sqlite_other_trigger(
    Sqlite,
    "DROP TRIGGER audit_log_no_update; CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log BEGIN SELECT 1; END",
    "the trigger audit_log_no_update of audit_log is not the one"
)]
#[case::sqlite_foreign_trigger(
    Sqlite,
    "CREATE TRIGGER mine AFTER INSERT ON tasks BEGIN UPDATE tasks SET status = 'completed'; END",
    "the trigger mine of tasks is not JCT's"
)]
#[case::sqlite_index(Sqlite, "DROP INDEX tasks_idempotency_key", "the index tasks_idempotency_key of tasks is missing")]
#[case::sqlite_weaker_index(
    Sqlite,
    "DROP INDEX tasks_idempotency_key; CREATE INDEX tasks_idempotency_key ON tasks (namespace, idempotency_key)",
    "the index tasks_idempotency_key of tasks is not the one"
)]
#[case::sqlite_constraint(
    Sqlite,
    "PRAGMA writable_schema = on; UPDATE sqlite_schema SET sql = replace(sql, 'REFERENCES tasks (id)', '') \
     WHERE name = 'jobs'",
    "the table jobs of jobs is not the one"
)]
#[case::postgres_trigger(
    Postgres,
    "DROP TRIGGER audit_log_no_change ON audit_log",
    "the trigger audit_log_no_change of audit_log is missing"
)]
#[case::postgres_switched_off(
    Postgres,
    "ALTER TABLE audit_log DISABLE TRIGGER audit_log_no_change",
    "the trigger audit_log_no_change of audit_log is switched off"
)]
#[case::postgres_not_always(
    Postgres,
    "ALTER TABLE audit_log ENABLE TRIGGER audit_log_no_truncate",
    "the trigger audit_log_no_truncate of audit_log is passed over in some sessions"
)]
#[case::postgres_other_function(
    Postgres,
    "CREATE OR REPLACE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
    "the trigger audit_log_no_change of audit_log is not the one"
)]
#[case::postgres_conditional(
    Postgres,
    "DROP TRIGGER audit_log_no_change ON audit_log; CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE ON audit_log \
     FOR EACH ROW WHEN (OLD.seq < 0) EXECUTE FUNCTION audit_log_is_append_only()",
    "the trigger audit_log_no_change of audit_log is not the one"
)]
#[case::postgres_foreign_trigger(
    Postgres,
    "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; \
     CREATE TRIGGER mine BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION mine()",
    "the trigger mine of tasks is not JCT's"
)]
#[case::postgres_references(
    Postgres,
    "ALTER TABLE jobs DISABLE TRIGGER ALL",
    "references from and to jobs are not enforced"
)]
#[case::postgres_rule(
    Postgres,
    "CREATE RULE mine AS ON DELETE TO jobs DO INSTEAD NOTHING",
    "the rule mine of jobs is not JCT's"
)]
#[case::postgres_hidden_rows(Postgres, "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY", "row security of tasks is on")]
#[case::postgres_index(
    Postgres,
    "DROP INDEX tasks_idempotency_key",
    "the index tasks_idempotency_key of tasks is missing"
)]
#[case::postgres_weaker_index(
    Postgres,
    "DROP INDEX tasks_idempotency_key; CREATE INDEX tasks_idempotency_key ON tasks (namespace, idempotency_key)",
    "the index tasks_idempotency_key of tasks is not the one"
)]
#[case::postgres_constraint(
    Postgres,
    "ALTER TABLE jobs DROP CONSTRAINT jobs_task_id_attempt_key",
    "the constraints of jobs are not those"
)]
#[tokio::test]
async fn a_guard_that_was_taken_away_is_named(#[case] backend: Backend, #[case] sql: &str, #[case] expected: &str) {
    let db = filled(backend).await;
    db.execute("CREATE INDEX theirs ON tasks (name)").await.unwrap();
    let check = whole(&db).await.check().await.unwrap();
    assert_eq!(check.problems, [] as [&str; 0], "an index that only makes reading faster is nobody's affair");
    db.execute(sql).await.unwrap();
    let check = whole(&db).await.check().await.unwrap();
    assert!(check.problems.iter().any(|problem| problem.contains(expected)), "{check:?}");
    assert!(check.audit_head.is_some(), "the log is looked at all the same");
}

#[tokio::test]
async fn a_row_that_refers_to_nothing_is_named() {
    let db = filled(Sqlite).await;
    db.execute("PRAGMA foreign_keys = OFF; DELETE FROM jobs").await.unwrap();
    let found = whole(&db).await.check().await.unwrap().problems;
    assert!(found.iter().any(|problem| problem.starts_with("artifacts, row ")), "{found:?}");
}

#[tokio::test]
async fn the_form_is_frozen() {
    let db = Database::fresh(Sqlite).await;
    db.store.record_denials(vec![denial("request-1")]).await.unwrap();
    let export = export(&db).await;
    let lines: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [header, entry, end] = lines.as_slice() else { panic!("{export}") };
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(names(header), "created_at format schema version");
    assert_eq!((names(entry), &entry["table"]), ("row table".into(), &Value::from("audit_log")));
    assert_eq!(
        names(&entry["row"]),
        "action actor_id actor_kind after before entity_id entity_kind hash id note prev_hash seq trace_id ts"
    );
    assert_eq!(names(&end["end"]), "audit_head rows rows_sha256");
    assert_eq!(
        (&end["end"]["audit_head"]["hash"], &end["end"]["rows"]["audit_log"]),
        (&entry["row"]["hash"], &1.into())
    );
}
