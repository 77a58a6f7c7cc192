//! Checkpoints of the audit log: made by a running operator, left outside of the database, and never for a log that was rewritten.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use jct::checkpoint::{CheckpointFile, CheckpointMap, CheckpointSchedule, Keeper, Places, Sink};
use jct::domain::checkpoint::Checkpoint;
use jct::signing::{KeyRing, Keys, PublicKey, SigningKey, checkpoint_in};
use jct::store::AuditCheck;
use kube::Client;
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::audit::rewrite;
use crate::harness::{Backend, Backend::*, Database, new_task, row};

fn ring() -> KeyRing {
    KeyRing::new(SigningKey::from_seed(&[7; 32]).unwrap(), &[], crate::harness::at(0))
}

fn keys() -> Vec<PublicKey> {
    ring().public().to_vec()
}

/// An API server that has one ConfigMap, or none.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<Option<Value>>>);

impl Api {
    fn client(&self) -> Client {
        let api = self.clone();
        Client::new(
            tower::service_fn(move |request: Request<Body>| {
                let api = api.clone();
                async move { Ok::<_, std::convert::Infallible>(api.answer(request).await) }
            }),
            "jct-system",
        )
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        assert_eq!(parts.uri.path().rsplit('/').next(), Some("jct-audit-checkpoints"));
        let sent: Value = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap_or_default();
        let mut there = self.0.lock().unwrap();
        let version = |map: &Value| map["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        let (status, answer) = match (parts.method.as_str(), &*there) {
            ("GET", None) => (404, json!({"status": "Failure", "reason": "NotFound", "code": 404, "message": "none"})),
            ("GET", Some(map)) => (200, map.clone()),
            ("PUT", Some(map)) if version(map) != version(&sent) => {
                (409, json!({"status": "Failure", "reason": "Conflict", "code": 409, "message": "written since"}))
            }
            ("PUT" | "PATCH", _) => {
                let next = there.as_ref().and_then(version).map_or(1, |version| version.parse::<u64>().unwrap() + 1);
                let mut map = sent;
                map["metadata"]["resourceVersion"] = next.to_string().into();
                *there = Some(map.clone());
                (200, map)
            }
            other => panic!("{other:?}"),
        };
        let answer = serde_json::to_vec(&answer).unwrap();
        Response::builder().status(status).body(Body::from(answer)).unwrap()
    }

    fn checkpoints(&self) -> Vec<Checkpoint> {
        let there = self.0.lock().unwrap();
        let text = there.as_ref().map(|map| map["data"]["checkpoints.jsonl"].as_str().unwrap_or_default().to_owned());
        text.unwrap_or_default().lines().map(|line| checkpoint_in(line.as_bytes(), &keys()).unwrap()).collect()
    }
}

/// An operator that leads, as far as checkpoints are concerned.
struct Leading {
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    intact: prometheus_client::metrics::gauge::Gauge,
    newest: watch::Receiver<Option<Checkpoint>>,
}

impl Leading {
    fn begin(db: &Database, folder: &Path, api: &Api, sink: Option<Sink>) -> Self {
        let (newest, seen) = watch::channel(None);
        let intact = prometheus_client::metrics::gauge::Gauge::default();
        intact.set(1);
        let look = Duration::from_millis(20);
        let keeper = Keeper {
            store: db.store.clone(),
            keys: Keys::fixed(Some(ring())),
            every: CheckpointSchedule { entries: 3, time: Duration::from_secs(3600), look },
            places: Places {
                file: CheckpointFile::new(folder.join("checkpoints.jsonl")),
                map: CheckpointMap::new(api.client(), "jct-system", "jct-audit-checkpoints"),
                sink,
            },
            intact: intact.clone(),
            newest,
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(keeper.run(stop.clone()));
        Self { stop, running, intact, newest: seen }
    }

    async fn until(&mut self, seq: u64) {
        let reached = self.newest.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.seq == seq));
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect("no checkpoint").unwrap();
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

async fn record(db: &Database, names: &[&str]) {
    for name in names {
        row(db.store.record_task(new_task(name)).await.unwrap());
    }
}

fn in_file(folder: &Path) -> Vec<Checkpoint> {
    CheckpointFile::new(folder.join("checkpoints.jsonl")).read(&keys()).unwrap().checkpoints
}

#[rstest]
#[tokio::test]
async fn checkpoints_leave_the_database_by_themselves(#[values(Sqlite, Postgres)] backend: Backend) {
    let (db, folder, api) = (Database::fresh(backend).await, tempfile::tempdir().unwrap(), Api::default());
    let mut leading = Leading::begin(&db, folder.path(), &api, None);
    record(&db, &["a"]).await;
    leading.until(1).await;
    record(&db, &["b"]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(in_file(folder.path()).len(), 1, "but for the first, one entry is not due yet");
    record(&db, &["c", "d"]).await;
    leading.until(4).await;
    record(&db, &["e"]).await;
    leading.end().await;
    let made = in_file(folder.path());
    assert_eq!(made.iter().map(|made| made.seq).collect::<Vec<_>>(), [1, 4, 5], "who ends leaves a last one");
    assert_eq!(api.checkpoints(), made);
    let checked = db.store.verify_audit_against(&made).await.unwrap();
    assert_eq!(checked.anchor.as_ref(), made.last());

    let again = Leading::begin(&db, folder.path(), &api, None);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(again.newest.borrow().as_ref(), made.last(), "known before there is a new one");
    again.end().await;
    assert_eq!(in_file(folder.path()), made, "nothing was written, so nothing is to be signed");
}

#[rstest]
#[case::both_places(true, true)]
#[case::the_file_alone(true, false)]
#[case::the_config_map_alone(false, true)]
#[tokio::test]
async fn a_rewritten_log_is_not_signed(
    #[values(Sqlite, Postgres)] backend: Backend,
    #[case] keep_file: bool,
    #[case] keep_map: bool,
) {
    let (db, folder, api) = (Database::fresh(backend).await, tempfile::tempdir().unwrap(), Api::default());
    record(&db, &["a", "b", "c"]).await;
    let mut leading = Leading::begin(&db, folder.path(), &api, None);
    leading.until(3).await;
    rewrite(&db, 2).await;
    assert!(matches!(db.store.verify_audit().await.unwrap(), AuditCheck::Intact { .. }), "a control");
    record(&db, &["d", "e", "f", "g"]).await;
    let intact = leading.intact.clone();
    leading.end().await;
    assert_eq!(intact.get(), 0, "also by the operator that was running");
    assert_eq!(in_file(folder.path()).len(), 1);

    // Another operator knows what the places know.
    if !keep_file {
        std::fs::remove_file(folder.path().join("checkpoints.jsonl")).unwrap();
    }
    if !keep_map {
        *api.0.lock().unwrap() = None;
    }
    assert_eq!(next_intact(&db, folder.path(), &api).await, 0);
    let made: Vec<u64> = in_file(folder.path()).into_iter().chain(api.checkpoints()).map(|made| made.seq).collect();
    assert!(made.iter().all(|seq| *seq == 3), "{made:?}");
}

async fn next_intact(db: &Database, folder: &Path, api: &Api) -> i64 {
    let leading = Leading::begin(db, folder, api, None);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let intact = leading.intact.clone();
    leading.end().await;
    intact.get()
}

#[tokio::test]
async fn a_sink_that_fails_gets_it_later_and_holds_nothing_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/archive?of=jct", listener.local_addr().unwrap());
    let archive = std::thread::spawn(move || {
        let mut got = Vec::new();
        for answer in ["500 Internal Server Error", "204 No Content"] {
            let (mut client, _) = listener.accept().unwrap();
            client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let mut request = Vec::new();
            let _ = client.read_to_end(&mut request);
            write!(client, "HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
            got.push(String::from_utf8(request).unwrap());
        }
        got
    });
    let (db, folder, api) = (Database::fresh(Sqlite).await, tempfile::tempdir().unwrap(), Api::default());
    record(&db, &["a", "b", "c"]).await;
    let mut leading = Leading::begin(&db, folder.path(), &api, Some(Sink::new(&url).unwrap()));
    leading.until(3).await;
    let got = tokio::task::spawn_blocking(|| archive.join().unwrap()).await.unwrap();
    leading.end().await;
    for request in &got {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /archive?of=jct HTTP/1.1"), "{head}");
        assert_eq!(checkpoint_in(body.as_bytes(), &keys()).unwrap().seq, 3);
    }
}
