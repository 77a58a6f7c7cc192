//! The three places where a Task leaves its mark: the database, the trace volume, the API server's audit log.

use std::fs;
use std::path::PathBuf;

use jct_domain::id::sha256_hex;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::{OPERATOR, RELEASE_NAMESPACE, Task, World, id, run, setting, until};

/// Runs the operator's own binary beside it, which must succeed; its output.
pub async fn jct(args: &[&str], stdin: &str) -> String {
    let within = ["--namespace", RELEASE_NAMESPACE, "exec", "--stdin", "deployment/jct", "--container=operator", "--"];
    let reported = run("kubectl", &[&within[..], &["/jct"], args].concat(), stdin).await;
    reported.unwrap_or_else(|error| panic!("jct {}: {error}", args.join(" ")))
}

/// The audit entries that `filter` finds, such as `["--trace", id]`, oldest first.
pub async fn audit(filter: &[&str]) -> Vec<Value> {
    let lines = jct(&[&["audit", "--output=json", "--limit=1000"][..], filter].concat(), "").await;
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What `jct trace verify` says of a trace, by the public keys of the operator; an error when it does not hold.
pub async fn verified(trace: &Trace) -> Result<String, String> {
    let keys = jct(&["keys", "show"], "").await;
    let folder = trace.folder.to_str().unwrap();
    run(&setting("JCT_E2E_BINARY"), &["trace", "verify", "--keys", "-", folder], &keys).await
}

/// Checks the chain of the audit log; it must be whole.
pub async fn verify_audit() {
    let answer = jct(&["audit", "--verify"], "").await;
    assert!(answer.starts_with("intact: "), "{answer}");
}

/// Checks the chain of an audit log that is not the installation's own, and so does not go through its checkpoints.
pub async fn verify_other_audit() {
    let answer = jct(&["audit", "--verify", "--offline", "--trace-root", "/nonexistent"], "").await;
    assert!(answer.starts_with("intact: "), "{answer}");
}

/// Rows of the database, read past the operator.
pub async fn query(world: &World, sql: &'static str, parameter: &str) -> Vec<SqliteRow> {
    let file = world.folder_of_claim("jct-data").await.join("jct.db");
    let mut connection = SqliteConnectOptions::new().filename(file).read_only(true).connect().await.unwrap();
    let rows = sqlx::query(sql).bind(parameter).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// The JSON in a column of a row, as it was before it was stored.
pub fn spec_in(row: &SqliteRow, column: usize) -> Value {
    serde_json::from_str(&jct_store::plain_json(row.get(column))).unwrap()
}

/// The database, locked against writing.
pub struct DatabaseLock(SqliteConnection);

/// Locks the database as a backup that hangs would.
pub async fn lock_database(world: &World) -> DatabaseLock {
    let file = world.folder_of_claim("jct-data").await.join("jct.db");
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    DatabaseLock(connection)
}

impl DatabaseLock {
    pub async fn release(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}

/// An attempt's folder on the trace volume.
pub struct Trace {
    pub folder: PathBuf,
}

impl Trace {
    /// The folder that the status names.
    pub async fn of(world: &World, task: &Task) -> Self {
        let trace = task.status.as_ref().and_then(|status| status.trace.as_ref()).expect("the status names no trace");
        Self { folder: world.folder_of_claim("jct-traces").await.join(&trace.path) }
    }

    pub fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.folder.join(file)).unwrap_or_else(|error| panic!("{file} of the trace: {error}"))
    }

    pub fn text(&self, file: &str) -> String {
        String::from_utf8(self.read(file)).unwrap()
    }

    pub fn json(&self, file: &str) -> Value {
        serde_json::from_slice(&self.read(file)).unwrap()
    }

    /// What is wrong with the digests, from the status down to the last file.
    pub fn check(&self, task: &Task) -> Result<(), String> {
        let status = task.status.as_ref().and_then(|status| status.trace.as_ref()).unwrap();
        if Some(sha256_hex(&self.read("manifest.json"))) != status.manifest_sha256 {
            return Err("manifest.json is not the one that the status names".into());
        }
        let manifest = self.json("manifest.json");
        let files = manifest["files"].as_array().unwrap();
        if status.files != Some(files.len() as i64) {
            return Err(format!("the status says {:?} files, the manifest has {}", status.files, files.len()));
        }
        for file in files {
            let path = file["path"].as_str().unwrap();
            let bytes = self.read(path);
            if file["sha256"] != sha256_hex(&bytes) || file["size_bytes"] != bytes.len() {
                return Err(format!("{path} does not match its digest"));
            }
        }
        Ok(())
    }
}

/// Waits until the executor of an attempt has printed `begun`; its trace.
pub async fn begun(world: &World, name: &str, attempt: i64) -> Trace {
    until("the executor to have begun", async || {
        let task = world.get(name).await;
        let status = task.status.clone().filter(|status| status.id.is_some()).ok_or("no id")?;
        let path = format!("{}/{}/{attempt}", world.namespace, id(&task));
        let trace = Trace { folder: world.folder_of_claim("jct-traces").await.join(path) };
        match fs::read_to_string(trace.folder.join("stdout.log")) {
            Ok(text) if text.contains("begun") => Ok(trace),
            other => Err(format!("{other:?}, {status:?}")),
        }
    })
    .await
}

/// One write that reached the API server, by its audit log.
#[derive(Clone, Debug)]
pub struct Write {
    pub user: String,
    pub verb: String,
    pub resource: String,
    pub name: String,
    pub namespace: String,
    pub code: u64,
}

/// The writes to Tasks and Jobs so far.
pub fn writes() -> Vec<Write> {
    let log = fs::read_to_string(PathBuf::from(setting("JCT_E2E_STATE")).join("audit.log")).unwrap();
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|event| {
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let resource = match text("/objectRef/subresource").as_str() {
                "" => text("/objectRef/resource"),
                part => format!("{}/{part}", text("/objectRef/resource")),
            };
            Write {
                user: text("/user/username"),
                verb: text("/verb"),
                resource,
                name: text("/objectRef/name"),
                namespace: text("/objectRef/namespace"),
                code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
            }
        })
        .collect()
}

/// The names of the Jobs that were ever created for a Task, in order.
pub fn jobs_ever(task: &Task) -> Vec<String> {
    let prefix = format!("t-{}-", id(task).to_lowercase());
    let creations = writes().into_iter().filter(|write| write.resource == "jobs" && write.verb == "create");
    creations
        .filter(|write| write.user == OPERATOR && write.code == 201 && write.name.starts_with(&prefix))
        .map(|write| write.name)
        .collect()
}
