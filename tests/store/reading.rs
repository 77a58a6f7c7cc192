//! Commands that only read: they make nothing, change nothing, and say what they do not show.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use jct::domain::Denial;
use jct::store::{Store, StoreError, StoreSettings};
use rstest::rstest;
use serde_json::{Value, json};

use crate::denials::denial;
use crate::harness::{Backend, Backend::*, Database, new_task};

const READING: [&[&str]; 6] = [
    &["audit"],
    &["audit", "--verify", "--offline"],
    &["retention", "plan"],
    &["db", "check"],
    &["db", "export", "--unsigned"],
    &["db", "export", "--offline"],
];

fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jct"));
    command.env_remove("KUBECONFIG").env("DATABASE_URL", url).args(arguments);
    command
}

fn jct(url: &str, arguments: &[&str]) -> Output {
    command(url, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The names and contents of all files.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut files: Vec<_> =
        files.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn what_is_not_there_is_an_error_with_its_name_and_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recrod.db");
    let url = format!("sqlite://{}", file.display());
    for arguments in READING {
        let output = jct(&url, arguments);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(file.to_str().unwrap()), "{arguments:?}: {said}");
        assert!(files(folder.path()).is_empty(), "{arguments:?} made {:?}", files(folder.path()));
    }
    std::fs::write(&file, "").unwrap();
    let output = jct(&url, &["audit", "--verify", "--offline"]);
    assert!(text(&output.stderr).contains("there is no record of JCT"), "{output:?}");
    assert!(!output.status.success());
}

#[tokio::test]
async fn reading_changes_no_byte_of_a_record_and_leaves_nothing_beside_it() {
    let db = Database::fresh(Sqlite).await;
    db.store.record_task(new_task("a")).await.unwrap();
    db.store.close().await;
    let folder = db.file().parent().unwrap().to_owned();
    let before = files(&folder);
    assert!(before.iter().any(|(name, _)| name == "jct.db"), "{:?}", before.iter().map(|(name, _)| name));
    for arguments in READING {
        let output = jct(db.url(), arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert!(files(&folder) == before, "{arguments:?} changed something");
    }
    // While somebody has it open, and writes.
    let store = Store::open(&db.settings).await.unwrap();
    store.record_task(new_task("b")).await.unwrap();
    let output = jct(db.url(), &["audit", "--output=json"]);
    assert_eq!(text(&output.stdout).lines().count(), 2, "{output:?}");
    store.close().await;
}

#[rstest]
#[tokio::test]
async fn a_record_of_an_older_schema_is_read_and_stays_what_it_is(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::left_by(backend, 6).await;
    let version = "SELECT MAX(version) FROM _sqlx_migrations";
    for (arguments, works) in [
        (&["audit"][..], true),
        (&["audit", "--verify", "--offline"], true),
        (&["retention", "plan"], false),
        (&["db", "check"], false),
        (&["db", "export", "--unsigned"], false),
    ] {
        let output = jct(db.url(), arguments);
        assert_eq!(output.status.success(), works, "{arguments:?}: {output:?}");
        let said = text(&output.stderr) + &text(&output.stdout);
        assert!(works || said.contains("jct db migrate"), "{arguments:?}: {said}");
        assert_eq!(db.number(version).await, 6, "{arguments:?}");
    }
    let later = StoreSettings::new(db.url().parse().unwrap());
    Store::open(&later).await.unwrap().close().await;
    assert!(db.number(version).await > 6, "a control");
}

#[rstest]
#[tokio::test]
async fn a_store_that_was_opened_to_read_writes_nothing(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let reading = Store::open_to_read(&db.settings, false).await.unwrap();
    assert_eq!(reading.record_task(new_task("a")).await.unwrap_err(), StoreError::Closed);
    assert_eq!(db.rows().await, [0; 4]);
    db.store.record_task(new_task("a")).await.unwrap();
    reading.close().await;
}

/// Two hundred and fifty denials of `request-0` and so on.
async fn many(db: &Database) {
    let denials = (0..250).map(|n| Denial { name: Some(format!("t-{n}")), ..denial(&format!("request-{n}")) });
    db.store.record_denials(denials.collect()).await.unwrap();
}

/// The entities that are shown, and what is said besides.
fn shown(db: &Database, arguments: &[&str]) -> (Vec<String>, String) {
    let output = jct(db.url(), &[&["audit", "-o", "json"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    let entries = text(&output.stdout);
    let entries = entries.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    (entries.map(|entry| entry["entity_id"].as_str().unwrap().to_owned()).collect(), text(&output.stderr))
}

fn requests(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("request-{n}")).collect()
}

#[rstest]
#[tokio::test]
async fn the_newest_come_last_and_what_is_left_out_is_told_and_can_be_had(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let db = Database::fresh(backend).await;
    many(&db).await;
    let (entries, said) = shown(&db, &[]);
    assert_eq!(entries, requests(150..250));
    assert!(
        said.starts_with("jct audit: 150 earlier entries that fit are not shown: --limit 250 shows all, "),
        "{said}"
    );
    let before = said.split("--before ").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(shown(&db, &["--before", before]).0, requests(50..150));
    let (entries, said) = shown(&db, &["--before", before, "--limit=150"]);
    assert_eq!((entries, said), (requests(0..150), String::new()));
    let (entries, said) = shown(&db, &["--after", before]);
    assert_eq!((entries, said), (requests(151..250), String::new()));
    let (entries, said) = shown(&db, &["--after", before, "--limit=9"]);
    assert_eq!(entries, requests(151..160));
    assert!(
        said.starts_with("jct audit: 90 later entries that fit are not shown: --limit 99 shows all, --after "),
        "{said}"
    );
    assert_eq!(shown(&db, &["--limit=250"]), (requests(0..250), String::new()));
    assert_eq!(shown(&db, &["--limit=4000000000"]).0.len(), 250);
    let none = (Vec::new(), "jct audit: no entry of the log fits\n".to_owned());
    assert_eq!(shown(&db, &["--entity=nope"]), none);
    assert_eq!(shown(&db, &["--since=2200-01-01T00:00:00Z"]), none);
    assert_eq!(shown(&db, &["--until=7d"]), none);
    assert_eq!(shown(&db, &["--since=1h", "--limit=1000"]).0.len(), 250);
    let output = jct(db.url(), &["audit", "--after", "01KJMMA2G027CE4HT1RZKZBW4A"]);
    assert!(!output.status.success() && text(&output.stderr).contains("there is no entry 01KJ"), "{output:?}");
    let table = text(&jct(db.url(), &["audit", "--limit=1"]).stdout);
    assert!(table.contains("Task team/t-249  REPO_NOT_ALLOWED,INVALID_SPEC"), "{table}");
}

#[rstest]
#[tokio::test]
async fn following_shows_what_is_written_later(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    db.store.record_denials(vec![denial("first")]).await.unwrap();
    let mut child = command(db.url(), &["audit", "--follow", "-o", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["entity_id"].clone();
    assert_eq!(next(), "first");
    for later in ["second", "third"] {
        db.store.record_denials(vec![denial(later)]).await.unwrap();
        assert_eq!(next(), later);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn whoever_has_read_enough_is_no_error() {
    let db = Database::fresh(Sqlite).await;
    many(&db).await;
    let rule = db.file().with_file_name("rules.yaml");
    std::fs::write(&rule, "interval: 1h\ntraces:\n  - { outcome: any, maxAge: 30d }\n").unwrap();
    for arguments in [&["audit", "--limit=250"][..], &["db", "check"], &["crds"], &["audit", "--verify", "--offline"]] {
        let mut child = command(db.url(), arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[tokio::test]
async fn a_verified_log_is_told_to_programs_too() {
    let db = Database::fresh(Sqlite).await;
    many(&db).await;
    let verified = |succeeds: bool| {
        let output = jct(db.url(), &["audit", "--verify", "--offline", "-o", "json"]);
        assert_eq!(output.status.success(), succeeds, "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let good = verified(true);
    assert_eq!((&good["intact"], &good["entries"], &good["broken"]), (&json!(true), &json!(250), &json!(null)));
    assert_eq!(good["head"].as_str().unwrap().len(), 64);
    db.execute("DROP TRIGGER audit_log_no_update").await.unwrap();
    db.execute("UPDATE audit_log SET note = 'x' WHERE seq = 7").await.unwrap();
    let bad = verified(false);
    assert_eq!((&bad["intact"], &bad["broken"]["entry"]), (&json!(false), &json!(7)));
}
