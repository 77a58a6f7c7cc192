//! A PostgreSQL server of our own: as long as this process, on a socket in a temporary folder. And what only it can do.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use jct::store::{AuditCheck, Recording, Store};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::{Backend, Database, new_task, row, start, with_key};

struct Server {
    folder: String,
    /// Its standard input ends with this process; then it stops the server and removes the folder.
    _keeper: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

const KEEPER: &str = r#"
    folder=$(mktemp -d)
    cleanup() { kill -INT "$server" 2>/dev/null || true; wait "$server" || true; rm -rf "$folder"; }
    "$1/initdb" --pgdata="$folder/data" --username=jct --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync \
        >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; exit 1; }
    "$1/postgres" -D "$folder/data" -k "$folder" -c listen_addresses= -c fsync=off -c max_connections=200 \
        >"$folder/server.log" 2>&1 &
    server=$!
    trap cleanup EXIT
    until "$1/pg_isready" --quiet --host="$folder"; do kill -0 "$server" || { cat "$folder/server.log" >&2; exit 1; }; sleep 0.1; done
    echo "$folder"
    cat >/dev/null
"#;

fn programs() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|folder| folder.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().expect("no PostgreSQL server is installed: apt-get install postgresql-15")
}

fn server() -> &'static Server {
    SERVER.get_or_init(|| {
        // The server refuses to run as root.
        let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"];
        let mut keeper = Command::new(if root { user[0] } else { "env" });
        keeper.args(if root { &user[1..] } else { &[] }).args(["sh", "-euc", KEEPER, "sh"]).arg(programs());
        keeper.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn().unwrap();
        let mut folder = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut folder).unwrap();
        assert!(!folder.is_empty(), "the PostgreSQL server did not start");
        Server { folder: folder.trim().into(), _keeper: keeper }
    })
}

/// The URL of a new, empty database.
pub async fn fresh() -> String {
    let server = tokio::task::spawn_blocking(server).await.unwrap();
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let url = |database: &str| format!("postgres://jct@localhost/{database}?host={}", server.folder);
    let mut conn = PgConnection::connect(&url("postgres")).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    url(&name)
}

#[tokio::test]
async fn the_log_can_not_be_truncated() {
    let db = Database::fresh(Backend::Postgres).await;
    row(db.store.record_task(new_task("a")).await.unwrap());
    let refused = db.execute("TRUNCATE audit_log").await.unwrap_err().to_string();
    assert!(refused.contains("append-only"), "{refused}");
}

#[tokio::test]
async fn replicas_share_a_record() {
    let db = Database::fresh(Backend::Postgres).await;
    let other = Store::open(&db.settings).await.unwrap();
    let life = async |store: &Store, n: usize| {
        // Both replicas do everything, in their own order, and meet at keys and rows.
        let recording = store.record_task(with_key(&format!("uid-{n}"), &format!("key-{}", n % 40))).await.unwrap();
        if let Recording::Recorded(row) | Recording::Known(row) = recording {
            store.start_attempt(start(&row, 1)).await.unwrap();
        }
    };
    let one = futures::future::join_all((0..80).map(|n| life(&db.store, n)));
    let two = futures::future::join_all((0..80).rev().map(|n| life(&other, n)));
    futures::join!(one, two);
    assert_eq!(db.rows().await, [40, 40, 0, 120]);
    assert!(matches!(other.verify_audit().await.unwrap(), AuditCheck::Intact { entries: 120, .. }));
}

#[tokio::test]
async fn a_lost_connection_is_replaced() {
    let db = Database::fresh(Backend::Postgres).await;
    for n in 0..5 {
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await
        .unwrap();
        let recorded = row(db.store.record_task(new_task(&format!("uid-{n}"))).await.unwrap());
        assert_eq!(db.store.task(recorded.id).await.unwrap(), Some(recorded));
    }
}
