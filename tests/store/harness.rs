//! A fresh database for every test, and Tasks to put into it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use jct::domain::task::{Constraints, Operation, Repo, RequestedBy, Target};
use jct::domain::trace::{ExecutorCost, ExecutorResult, FileEntry, FileKind};
use jct::domain::{Actor, ActorKind, Id, Task, TraceId};
use jct::store::{
    AttemptEnd, AuditQuery, MarkRunning, NewTask, Next, Order, Page, Recording, Report, Shown, StartAttempt, Store,
    StoreSettings, TaskRow, TraceRecord,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::postgres;

#[derive(Clone, Copy, Debug)]
pub enum Backend {
    Sqlite,
    Postgres,
}

pub struct Database {
    pub store: Store,
    pub settings: StoreSettings,
    url: String,
    folder: TempDir,
}

impl Database {
    /// What `jct db check` finds.
    pub async fn check(&self) -> jct::store::Check {
        let mut whole = jct::store::Database::open(&self.settings).await.unwrap();
        let check = whole.check().await.unwrap();
        whole.close().await;
        check
    }

    pub async fn fresh(backend: Backend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match backend {
            Backend::Sqlite => format!("sqlite://{}", folder.path().join("jct.db").display()),
            Backend::Postgres => postgres::fresh().await,
        };
        let mut settings = StoreSettings::new(url.parse().unwrap());
        settings.wait = Duration::from_secs(20);
        let store = Store::open(&settings).await.unwrap();
        Self { store, settings, url, folder }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A database as a program left it whose last migration was this one, with what `sql` puts into it; then opened by this
    /// program.
    pub async fn upgraded(backend: Backend, version: u32, sql: &str) -> Self {
        Self::upgraded_with(backend, version, sql, Duration::from_secs(20)).await
    }

    /// On PostgreSQL, where `slow` makes something take its time.
    pub async fn slowly_upgraded(version: u32, export: &str, slow: &str, wait: Duration) -> Self {
        let rows = insertions(Backend::Postgres, export);
        Self::upgraded_with(Backend::Postgres, version, &format!("{rows}\n{slow}"), wait).await
    }

    async fn upgraded_with(backend: Backend, version: u32, sql: &str, wait: Duration) -> Self {
        let mut db = Self::left_by(backend, version).await;
        db.execute(sql).await.unwrap();
        db.settings.wait = wait;
        db.store = Store::open(&db.settings).await.unwrap();
        db
    }

    /// A database as a program left it whose last migration was this one. It is not opened.
    pub async fn left_by(backend: Backend, version: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (url, kind) = match backend {
            Backend::Sqlite => (format!("sqlite://{}", folder.path().join("jct.db").display()), "sqlite"),
            Backend::Postgres => (postgres::fresh().await, "postgres"),
        };
        let migrations = folder.path().join("migrations");
        std::fs::create_dir(&migrations).unwrap();
        let ours = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/store/migrations").join(kind);
        for file in std::fs::read_dir(ours).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            if name[..4].parse::<u32>().unwrap() <= version {
                std::fs::copy(file.path(), migrations.join(name)).unwrap();
            }
        }
        let migrator = sqlx::migrate::Migrator::new(migrations).await.unwrap();
        match backend {
            Backend::Sqlite => {
                let options: sqlx::sqlite::SqliteConnectOptions = url.parse().unwrap();
                let mut conn = SqliteConnection::connect_with(&options.create_if_missing(true)).await.unwrap();
                migrator.run(&mut conn).await.unwrap();
                conn.close().await.unwrap();
            }
            Backend::Postgres => {
                let mut conn = PgConnection::connect(&url).await.unwrap();
                migrator.run(&mut conn).await.unwrap();
                conn.close().await.unwrap();
            }
        }
        let mut settings = StoreSettings::new(url.parse().unwrap());
        settings.wait = Duration::from_secs(20);
        // Not opened yet: what is to be put into it is of the old schema.
        let store = Store::open_in_background(&StoreSettings::new("sqlite::memory:".parse().unwrap()));
        Self { store, settings, url, folder }
    }

    /// A database as an earlier version left it, by its export; then opened by this one.
    pub async fn of_export(backend: Backend, version: u32, export: &str) -> Self {
        Self::upgraded(backend, version, &insertions(backend, export)).await
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("jct.db")
    }

    fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres:")
    }

    /// Runs SQL past the store.
    pub async fn execute(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            let mut conn = PgConnection::connect(&self.url).await?;
            sqlx::raw_sql(sql).execute(&mut conn).await?;
            conn.close().await
        } else {
            let mut conn = SqliteConnection::connect(&self.url).await?;
            sqlx::raw_sql(sql).execute(&mut conn).await?;
            conn.close().await
        }
    }

    /// How many rows the tables have.
    pub async fn rows(&self) -> [i64; 4] {
        let sql = "SELECT (SELECT COUNT(*) FROM tasks), (SELECT COUNT(*) FROM jobs), (SELECT COUNT(*) FROM artifacts), \
                   (SELECT COUNT(*) FROM audit_log)";
        let (tasks, jobs, artifacts, entries): (i64, i64, i64, i64) = if self.is_postgres() {
            let mut conn = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap()
        } else {
            let mut conn = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap()
        };
        [tasks, jobs, artifacts, entries]
    }

    /// The number that `sql` finds.
    pub async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        let (number,): (i64,) = if self.is_postgres() {
            let mut conn = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap()
        } else {
            let mut conn = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap()
        };
        number
    }

    /// Lets every entry of the audit log be as earlier versions wrote it: JSON without codes.
    pub async fn write_entries_without_codes(&self) {
        self.unprotect_audit().await;
        let mut lines = Vec::new();
        let mut whole = jct::store::Database::open(&self.settings).await.unwrap();
        whole.export(&mut lines, None).await.unwrap();
        whole.close().await;
        let export = String::from_utf8(lines).unwrap();
        for line in export.lines().filter(|line| line.starts_with("{\"table\":\"audit_log\"")) {
            let row = &serde_json::from_str::<Value>(line).unwrap()["row"];
            let text = |column: &str| match &row[column] {
                Value::String(text) => format!("'{}'", text.replace('\'', "''")),
                _ => "NULL".to_owned(),
            };
            let (before, after, seq) = (text("before"), text("after"), &row["seq"]);
            let sql = format!("UPDATE audit_log SET before = {before}, after = {after} WHERE seq = {seq}");
            self.execute(&sql).await.unwrap();
        }
    }

    /// Removes what protects the audit log.
    pub async fn unprotect_audit(&self) {
        let sql = if self.is_postgres() {
            "ALTER TABLE audit_log DISABLE TRIGGER ALL"
        } else {
            "DROP TRIGGER audit_log_no_update; DROP TRIGGER audit_log_no_delete; DROP TRIGGER audit_log_no_replace"
        };
        self.execute(sql).await.unwrap();
    }
}

/// The statements for an export.
fn insertions(backend: Backend, export: &str) -> String {
    let statement = |line: &str| insertion(backend, &serde_json::from_str(line).unwrap());
    export.lines().filter_map(statement).collect::<Vec<_>>().join("\n")
}

/// The statement for a line of an export; none for its first.
fn insertion(backend: Backend, line: &Value) -> Option<String> {
    let literal = |value: &Value| match (value, backend) {
        (Value::String(text), _) => format!("'{}'", text.replace('\'', "''")),
        (Value::Bool(flag), Backend::Sqlite) => i64::from(*flag).to_string(),
        (other, _) => other.to_string(),
    };
    if let Some(head) = line.pointer("/end/audit_head") {
        return Some(format!("UPDATE audit_head SET seq = {}, hash = {};", head["seq"], literal(&head["hash"])));
    }
    let (table, row) = (line["table"].as_str()?, line["row"].as_object()?);
    let columns: Vec<&str> = row.keys().map(String::as_str).collect();
    let values: Vec<String> = row.values().map(literal).collect();
    Some(format!("INSERT INTO {table} ({}) VALUES ({});", columns.join(", "), values.join(", ")))
}

/// 2026-03-01T12:00:00Z and some seconds.
pub fn at(seconds: i64) -> Timestamp {
    "2026-03-01T12:00:00.123456Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

pub fn created_at() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub fn ada() -> Actor {
    Actor { kind: ActorKind::Human, id: "ada@example.org".into() }
}

pub fn task() -> Task {
    Task {
        version: "1.0".into(),
        idempotency_key: None,
        requested_by: RequestedBy { kind: ActorKind::Human, id: "ada".into(), label: Some("Ada".into()) },
        objective: "Describe the public API".into(),
        operation: Operation::Docs,
        target: Target { repo: Repo::parse("acme/api").unwrap(), git_ref: "main".into(), path: "src".into() },
        constraints: Constraints { time_budget_seconds: 900, allow_network: false, allow_secrets: false },
        inputs: object(json!({"depth": 2, "nested": {"list": [1, 2.5, null, "é"]}})),
        metadata: object(json!({"ticket": "API-7"})),
        acceptance_criteria: vec!["Every function is described".into()],
        evidence_requirements: vec!["A report".into()],
    }
}

pub fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

/// A Task of the object with this uid, in namespace `team`, named like the uid.
pub fn new_task(uid: &str) -> NewTask {
    NewTask {
        id: Id::derive(created_at(), uid),
        trace_id: TraceId::derive(uid),
        namespace: "team".into(),
        name: uid.into(),
        uid: uid.into(),
        submitted_by: Some("ada@example.org".into()),
        actor: ada(),
        task: task(),
        executor: None,
        model: None,
        delivery: None,
        max_attempts: 2,
        create_cwom: false,
        for_run: None,
        client: None,
        suspended: false,
        shown: Shown::default(),
        created_at: created_at(),
        recorded_at: at(1),
    }
}

pub fn with_key(uid: &str, key: &str) -> NewTask {
    NewTask { task: Task { idempotency_key: Some(key.into()), ..task() }, ..new_task(uid) }
}

pub fn start(row: &TaskRow, attempt: u32) -> StartAttempt {
    StartAttempt {
        task_id: row.id,
        attempt,
        job_id: Id::derive_for(row.created_at, &row.id.to_string(), &format!("job/{attempt}")),
        job_name: format!("t-{}-{attempt}", row.id.to_lowercase()),
        at: at(10 * i64::from(attempt)),
    }
}

pub fn running(row: &TaskRow, attempt: u32) -> MarkRunning {
    MarkRunning {
        task_id: row.id,
        attempt,
        worker_id: format!("pod-{attempt}"),
        commit: None,
        at: at(10 * i64::from(attempt) + 2),
    }
}

pub fn end(row: &TaskRow, attempt: u32, next: Next) -> AttemptEnd {
    AttemptEnd {
        task_id: row.id,
        attempt,
        next,
        trace: Some(trace(row, attempt)),
        exit_code: Some(0),
        worker_id: Some(format!("pod-{attempt}")),
        commit: Some("c0ffee".repeat(6) + "c0ff"),
        started_at: Some(at(10 * i64::from(attempt) + 3)),
        evidence: None,
        ended_at: at(10 * i64::from(attempt) + 8),
    }
}

pub fn trace(row: &TaskRow, attempt: u32) -> TraceRecord {
    let file = |path: &str, kind, media_type: &str| FileEntry {
        path: path.into(),
        kind,
        media_type: media_type.into(),
        size_bytes: 12,
        sha256: "ab".repeat(32),
    };
    TraceRecord {
        path: format!("{}/{}/{attempt}", row.namespace, row.id),
        manifest_sha256: Some("cd".repeat(32)),
        files: vec![
            file("artifacts/report.md", FileKind::Report, "text/markdown"),
            file("task.json", FileKind::File, "application/json"),
        ],
        complete: true,
        announced: true,
        report: Some(Report {
            executor: "analysis".into(),
            worker: "jct 0.1.0".into(),
            result: ExecutorResult {
                summary: Some("looked at 2 files".into()),
                decision_log: vec!["nothing is left out".into()],
                cost: Some(ExecutorCost { usd: Some(0.25), tokens: Some(1200) }),
                ..ExecutorResult::default()
            },
            cpu_ms: Some(40),
        }),
    }
}

pub fn completed() -> Next {
    Next::Completed { result: json!({"summary": "done"}) }
}

/// The row of a Recording that lets the Task run.
pub fn row(recording: Recording) -> TaskRow {
    match recording {
        Recording::Recorded(row) | Recording::Known(row) => *row,
        other => panic!("not recorded: {other:?}"),
    }
}

/// The audit log as things happened, without what differs from run to run.
pub async fn audit(store: &Store) -> Value {
    let query = AuditQuery {
        order: Order::OldestFirst,
        page: Page { limit: 1000, ..Page::default() },
        ..AuditQuery::default()
    };
    let entries = store.audit(&query).await.unwrap();
    let ids: BTreeSet<Id> = entries.iter().map(|entry| entry.id).collect();
    assert!(ids.iter().eq(entries.iter().map(|entry| &entry.id)), "ids ascend and are unique");
    let mut shown = serde_json::to_value(entries).unwrap();
    for entry in shown.as_array_mut().unwrap() {
        entry["id"] = "[id]".into();
        entry["ts"] = "[now]".into();
    }
    shown
}
