//! Faults of the process, the disk and others who use the file. The children are this test binary, run again.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use jct::store::{AuditCheck, Store, StoreError, StoreSettings};
use sqlx::{Connection, SqliteConnection};

use crate::harness::{Backend, Database, new_task, row, start};

const ROLE: &str = "JCT_TEST_STORE_ROLE";
const FILE: &str = "JCT_TEST_STORE_FILE";

/// This test binary, to play `role` on `file`.
fn child(role: &str, file: &Path, program: Option<&str>) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = match program {
        None => Command::new(this),
        // With a mount namespace of its own, in which it may mount.
        Some(script) => {
            let mut command = Command::new("unshare");
            let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
            let user: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
            command.args(user).args(["--mount", "sh", "-euc", script, "sh"]).arg(this);
            command
        }
    };
    command.args(["--exact", "faults::play_a_role", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(FILE, file);
    command
}

fn succeeds(mut command: Command) {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("role played"), "{out}\n{err}");
}

#[tokio::test]
async fn play_a_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let file = std::env::var_os(FILE).unwrap();
    let file = Path::new(&file);
    match role.as_str() {
        "write until killed" => write_until_killed(file).await,
        "fill the disk" => fill_the_disk(file).await,
        "read only" => read_only(file).await,
        "read only mount" => read_only_mount(file).await,
        other => panic!("{other}"),
    }
    println!("role played");
}

fn settings(file: &Path) -> StoreSettings {
    let mut settings = StoreSettings::new(format!("sqlite://{}", file.display()).parse().unwrap());
    settings.wait = Duration::from_millis(300);
    settings
}

async fn write_until_killed(file: &Path) {
    let store = Store::open(&settings(file)).await.unwrap();
    let mut writes = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let store = store.clone();
        writes.spawn(async move {
            for n in 0.. {
                let recorded = row(store.record_task(new_task(&format!("{writer}-{n}"))).await.unwrap());
                store.start_attempt(start(&recorded, 1)).await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "ack {writer}-{n}").unwrap();
                out.flush().unwrap();
            }
        });
    }
    writes.join_next().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jct.db");
    let mut acknowledged = Vec::new();
    for _ in 0..3 {
        let mut child = child("write until killed", &file, None).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let target = acknowledged.len() + 150;
        for line in lines {
            let line = line.unwrap();
            if let Some((_, uid)) = line.split_once("ack ") {
                acknowledged.push(uid.to_owned());
            }
            if acknowledged.len() == target {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success());
        assert!(acknowledged.len() >= target);
    }
    let store = Store::open(&settings(&file)).await.unwrap();
    for uid in &acknowledged {
        let found = store.task(new_task(uid).id).await.unwrap();
        assert_eq!(found.map(|row| row.attempt), Some(1), "{uid} was acknowledged");
    }
    assert!(matches!(store.verify_audit().await.unwrap(), AuditCheck::Intact { .. }));
}

#[test]
fn a_full_disk_is_named_and_overcome() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=3m none "$(dirname "$JCT_TEST_STORE_FILE")"; exec "$@""#;
    succeeds(child("fill the disk", &folder.path().join("jct.db"), Some(script)));
}

async fn fill_the_disk(file: &Path) {
    let store = Store::open(&settings(file)).await.unwrap();
    row(store.record_task(new_task("before")).await.unwrap());
    let ballast = file.with_file_name("ballast");
    let mut filler = std::fs::File::create(&ballast).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    let mut accepted = 0;
    let error = loop {
        match store.record_task(new_task(&format!("uid-{accepted}"))).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 10_000, "the disk is full");
    };
    assert_eq!(error.category(), "full", "{error}");
    for n in 0..3 {
        let error = store.record_task(new_task(&format!("full-{n}"))).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
    }
    assert!(store.ping().await.unwrap_err().to_string().contains("free some or enlarge its volume"));
    assert!(store.check().await.is_err(), "it is known that the last write failed");
    assert!(store.task(new_task("before").id).await.unwrap().is_some(), "reading goes on");

    std::fs::remove_file(ballast).unwrap();
    drop(filler);
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.category(), "full", "that a probe has room does not mean that a Task has");
    row(store.record_task(new_task("after")).await.unwrap());
    store.ping().await.unwrap();
    store.check().await.unwrap();
    let entries = accepted + 2;
    assert!(matches!(store.verify_audit().await.unwrap(), AuditCheck::Intact { entries: n, .. } if n == entries));
}

#[test]
fn a_read_only_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        touch "$JCT_TEST_STORE_FILE"
        mount --bind "$JCT_TEST_STORE_FILE" "$JCT_TEST_STORE_FILE"
        mount -o remount,ro,bind "$JCT_TEST_STORE_FILE"
        exec "$@"
    "#;
    succeeds(child("read only", &folder.path().join("jct.db"), Some(script)));
}

async fn read_only(file: &Path) {
    let error = Store::open(&settings(file)).await.unwrap_err();
    assert_eq!(error.category(), "read_only", "{error}");
    let store = Store::open_in_background(&settings(file));
    let reported = why_not_open(&store).await;
    assert_eq!(reported, error);
    assert!(reported.to_string().contains("give back the right to write"), "{reported}");
    assert!(Command::new("umount").arg(file).status().unwrap().success());
    tokio::time::timeout(Duration::from_secs(20), store.opened()).await.expect("it is opened by itself");
    row(store.record_task(new_task("a")).await.unwrap());
}

/// With a database there, and without.
#[test]
fn a_read_only_mount_is_named() {
    let script = r#"
        folder="$(dirname "$JCT_TEST_STORE_FILE")"
        mount --bind "$folder" "$folder"
        mount -o remount,ro,bind "$folder"
        exec "$@"
    "#;
    for is_there in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jct.db");
        if is_there {
            let made = tokio::runtime::Runtime::new().unwrap();
            made.block_on(async { Store::open(&settings(&file)).await.unwrap().close().await });
        }
        succeeds(child("read only mount", &file, Some(script)));
    }
}

async fn read_only_mount(file: &Path) {
    let error = Store::open(&settings(file)).await.unwrap_err();
    let folder = file.parent().unwrap();
    let cause = format!(": the folder {} is on a file system that is mounted read-only", folder.display());
    assert_eq!(error.category(), "read_only", "{error}");
    assert!(error.to_string().ends_with(&cause), "{error}");
    assert!(!error.summary().contains("folder /"), "who may not know where it is: {}", error.summary());
    let store = Store::open_in_background(&settings(file));
    assert_eq!(why_not_open(&store).await, error);
    assert!(Command::new("umount").arg(folder).status().unwrap().success());
    tokio::time::timeout(Duration::from_secs(20), store.opened()).await.expect("it is opened by itself");
    row(store.record_task(new_task("a")).await.unwrap());
}

#[tokio::test]
async fn a_lock_of_somebody_else_is_waited_out_or_named() {
    let db = Database::fresh(Backend::Sqlite).await;
    let settings = settings(&db.file());
    db.store.close().await;
    let store = Store::open(&settings).await.unwrap();
    let mut other = SqliteConnection::connect(&format!("sqlite://{}", db.file().display())).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let error = store.record_task(new_task("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert_eq!(store.task(new_task("a").id).await.unwrap(), None, "reading goes on");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    row(store.record_task(new_task("a")).await.unwrap());
    assert_eq!(store.stats().failures, 1);
}

/// Why the database is not open, once it was tried.
async fn why_not_open(store: &Store) -> StoreError {
    loop {
        let error = store.record_task(new_task("a")).await.unwrap_err();
        if !error.to_string().contains("being opened") {
            return error;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_database_that_is_away_at_the_start_is_opened_when_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("volume/jct.db");
    let store = Store::open_in_background(&settings(&file));
    let error = why_not_open(&store).await;
    assert!(error.is_transient() && error.to_string().contains("unable to open database file"), "{error}");
    assert_eq!(store.task(new_task("a").id).await.unwrap_err(), error, "readers know why too");
    assert_eq!(store.ping().await.unwrap_err(), error);
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), store.opened()).await.expect("it is opened by itself");
    row(store.record_task(new_task("a")).await.unwrap());
    store.close().await;

    let away = Store::open_in_background(&settings(&folder.path().join("no/jct.db")));
    tokio::time::timeout(Duration::from_secs(5), away.close()).await.expect("it can be closed unopened");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jct.db");
    std::fs::write(&file, "no database at all".repeat(1000)).unwrap();
    assert_eq!(Store::open(&settings(&file)).await.unwrap_err().category(), "corrupt");
    let missing = folder.path().join("no/such/folder/jct.db");
    assert_eq!(Store::open(&settings(&missing)).await.unwrap_err().category(), "unavailable");
}
