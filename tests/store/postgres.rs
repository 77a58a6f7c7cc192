//! A PostgreSQL server of our own: as long as this process, on a socket in a temporary folder. And what only it can do.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jct::store::{AuditCheck, Database as Whole, Recording, Store, StoreSettings};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::{Backend, Database, new_task, row, running, start, with_key};
use crate::maintenance::fill;

struct Server {
    folder: String,
    port: u16,
    /// Its standard input ends with this process; then it stops the server and removes the folder.
    _keeper: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

const KEEPER: &str = r#"
    folder=$(mktemp -d)
    cleanup() { kill -INT "$server" 2>/dev/null || true; wait "$server" || true; rm -rf "$folder"; }
    cd "$folder"
    openssl req -x509 -newkey ed25519 -nodes -keyout ca.key -out ca.crt -subj /CN=authority -days 2 2>openssl.log
    openssl req -newkey ed25519 -nodes -keyout server.key -out server.csr -subj /CN=server 2>>openssl.log
    echo "subjectAltName=IP:0.0.0.0" >names
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -extfile names -out server.crt 2>>openssl.log
    cd /
    "$1/initdb" --pgdata="$folder/data" --username=jct --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync \
        >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; exit 1; }
    "$1/postgres" -D "$folder/data" -k "$folder" -p "$2" -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200 \
        -c ssl=on -c ssl_cert_file="$folder/server.crt" -c ssl_key_file="$folder/server.key" \
        >"$folder/server.log" 2>&1 &
    server=$!
    trap cleanup EXIT
    until "$1/pg_isready" --quiet --host="$folder" --port="$2"; do kill -0 "$server" || { cat "$folder/server.log" >&2; exit 1; }; sleep 0.1; done
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
        // Free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        keeper.arg(port.to_string());
        keeper.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn().unwrap();
        let mut folder = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut folder).unwrap();
        assert!(!folder.is_empty(), "the PostgreSQL server did not start");
        Server { folder: folder.trim().into(), port, _keeper: keeper }
    })
}

/// The URL of a new, empty database.
pub async fn fresh() -> String {
    let server = tokio::task::spawn_blocking(server).await.unwrap();
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let url = |database: &str| format!("postgres://jct@localhost:{}/{database}?host={}", server.port, server.folder);
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

/// 0.0.0.0 leads to this machine as well, and is no address of the loopback: a server there counts as another machine's.
#[tokio::test]
async fn a_server_elsewhere_must_have_a_certificate_for_its_name() {
    let server = tokio::task::spawn_blocking(server).await.unwrap();
    let open = async |host: &str, more: &str| {
        let url = format!("postgres://jct@{host}:{}/postgres?application_name=test{more}", server.port);
        jct::store::Database::open(&StoreSettings::new(url.parse().unwrap())).await.map(drop)
    };
    let authority = format!("&sslrootcert={}/ca.crt", server.folder);
    open("0.0.0.0", &authority).await.expect("a control: the name is right");
    open("0.0.0.0", "&sslmode=prefer").await.expect("a control: the URL says that anybody may answer");
    let unknown = open("0.0.0.0", "").await.unwrap_err().to_string();
    assert!(unknown.contains("sslrootcert=FILE"), "{unknown}");
    let wrong_name = open("127.0.0.1", &format!("&sslmode=verify-full{authority}")).await.unwrap_err().to_string();
    assert!(wrong_name.contains("not valid for name") && wrong_name.contains("sslrootcert=FILE"), "{wrong_name}");
}

#[tokio::test]
async fn one_in_the_middle_cannot_have_the_password_in_the_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Says that it knows no TLS, and takes what then comes.
    let middle = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.read_exact(&mut [0; 8]).unwrap();
        client.write_all(b"N").unwrap();
        let mut rest = Vec::new();
        let _ = client.set_read_timeout(Some(std::time::Duration::from_secs(1)));
        let _ = client.read_to_end(&mut rest);
        rest
    });
    let url = format!("postgres://jct:s3cret@0.0.0.0:{port}/jct");
    let refused = jct::store::Database::open(&StoreSettings::new(url.parse().unwrap())).await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("does not support TLS"), "{refused}");
    let overheard = tokio::task::spawn_blocking(|| middle.join().unwrap()).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&overheard), "");
}

#[rstest::rstest]
#[case("off", "on")]
#[case("local", "on")]
#[case("remote_write", "on")]
#[case("on", "on")]
#[case("remote_apply", "remote_apply")]
#[tokio::test]
async fn no_commit_is_answered_that_a_crash_undoes(#[case] of_the_server: &str, #[case] of_the_session: &str) {
    let db = Database::fresh(Backend::Postgres).await;
    db.store.close().await;
    db.execute(&format!(
        "CREATE TABLE seen (setting TEXT); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ \
         BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$; \
         CREATE TRIGGER note BEFORE UPDATE ON store_probe FOR EACH ROW EXECUTE FUNCTION note(); \
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = {of_the_server}', current_database()); END $$"
    ))
    .await
    .unwrap();
    let store = Store::open(&db.settings).await.unwrap();
    store.ping().await.unwrap();
    let url = db.url();
    let mut conn = PgConnection::connect(url).await.unwrap();
    let own = sqlx::query_scalar::<_, String>("SHOW synchronous_commit").fetch_one(&mut conn).await.unwrap();
    assert_eq!(own, of_the_server, "a control: it is what sessions get that set nothing");
    let seen = sqlx::query_scalar::<_, String>("SELECT setting FROM seen").fetch_one(&mut conn).await.unwrap();
    assert_eq!(seen, of_the_session);
}

#[tokio::test]
async fn the_log_is_append_only_in_sessions_of_replication_too() {
    let db = Database::fresh(Backend::Postgres).await;
    row(db.store.record_task(new_task("a")).await.unwrap());
    let refused = "SET session_replication_role = replica; UPDATE audit_log SET actor_id = 'mallory'";
    assert!(db.execute(refused).await.unwrap_err().to_string().contains("append-only"));
}

/// Where each look at a table takes two seconds, and a statement may take less than one.
#[tokio::test]
async fn what_may_take_long_has_a_limit_of_its_own() {
    let db = Database::fresh(Backend::Postgres).await;
    fill(&db.store, 0, 1).await;
    db.store.close().await;
    let slow = "ALTER TABLE artifacts RENAME TO artifacts_there; \
                CREATE VIEW artifacts AS SELECT a.* FROM artifacts_there a, (SELECT pg_sleep(2)) AS s";
    db.execute(slow).await.unwrap();
    let settings = StoreSettings { wait: Duration::from_millis(150), ..db.settings.clone() };
    let store = Store::open(&settings).await.unwrap();
    let task = store.task_by_uid("uid-0").await.unwrap().unwrap();
    let late = store.artifacts(task.id).await.unwrap_err();
    assert_eq!(late.category(), "unavailable", "the control: {late}");
    store.close().await;
    let mut out = Vec::new();
    let mut whole = Whole::open(&settings).await.unwrap();
    whole.export(&mut out, None).await.unwrap();
    whole.close().await;
}

#[tokio::test]
async fn a_migration_may_take_long_and_what_comes_after_it_may_not() {
    // A migration marks the second row, which here takes two seconds.
    let slow = "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NEW; END $$; \
                CREATE TRIGGER slowly BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION slowly();";
    let export = crate::upgrade::written_before();
    let db = Database::slowly_upgraded(4, &export, slow, Duration::from_millis(150)).await;
    let task = db.store.task_by_uid("queued").await.unwrap().unwrap();
    let late = db.store.mark_running(running(&task, 1)).await.unwrap_err();
    assert_eq!(late.category(), "unavailable", "{late}");
}
