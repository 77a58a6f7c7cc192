//! What hostile bodies cost. Each measurement is in a process of its own: this test, run again with a name in `MEASURE`.

use std::future::Future;
use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use futures::future::join_all;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use jct::domain::trace::Outcome;
use jct::domain::{Actor, Id};
use jct::policy::Policy;
use jct::runtime::Metrics;
use jct::shared::{Denials, NamespaceLimits, Waiting};
use jct::store::NewTask;
use jct::webhook::{self, Reviewer};
use kube::core::DynamicObject;
use kube::core::admission::AdmissionReview;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::ServiceExt as _;

use crate::world::{ADA, NOBODY, World, request};

const MEASURE: &str = "JCT_TEST_MEASURE";
const MIB: u64 = 1 << 20;

/// By how many bytes `work` raised the greatest memory of this process.
async fn raised_by(work: impl Future<Output = ()>) -> u64 {
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    };
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    work.await;
    // The kernel counts pages by and by, for each thread.
    peak().saturating_sub(before)
}

/// How many bytes this process has read so far.
fn bytes_read() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().trim().parse().unwrap()
}

/// What the operator's image sets.
fn of_the_image() -> Vec<(&'static str, &'static str)> {
    let file = include_str!("../../images/operator.Containerfile");
    let set: Vec<_> = file.lines().filter_map(|line| line.strip_prefix("ENV ")?.split_once('=')).collect();
    assert!(set.iter().any(|(name, _)| name.starts_with("MIMALLOC_")), "{set:?}");
    set
}

/// What `test`, run in a process of its own with `what` to measure, prints.
fn measured(test: &str, what: &str) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("memory::{test}"), "--exact", "--nocapture", "--test-threads=1"])
        .env(MEASURE, what)
        .envs(of_the_image())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().find_map(|line| line.split_once("raised by ")).unwrap_or_else(|| panic!("{output:?}"));
    found.1.trim().parse().unwrap()
}

/// A body in pieces, as it comes from a socket: the text itself is there once, for all.
fn pieces(text: &Bytes) -> Body {
    let text = text.clone();
    let starts = (0..text.len()).step_by(16 * 1024);
    let pieces = starts.map(move |at| Ok::<_, std::io::Error>(text.slice(at..text.len().min(at + 16 * 1024))));
    // Nobody has all of it at once.
    let pieces = futures::StreamExt::then(futures::stream::iter(pieces), |piece| async {
        tokio::task::yield_now().await;
        piece
    });
    Body::from_stream(pieces)
}

fn review(spec: &str) -> Bytes {
    Bytes::from(format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u","operation":"CREATE",
        "name":"t","namespace":"team","kind":{{"group":"jct.dev","version":"v1","kind":"Task"}},
        "resource":{{"group":"jct.dev","version":"v1","resource":"tasks"}},"userInfo":{{"username":"mallory"}},
        "object":{{"apiVersion":"jct.dev/v1","kind":"Task","metadata":{{"name":"t","namespace":"team"}},"spec":{spec}}}}}}}"#
    ))
}

/// A spec of about so many bytes, of what takes the most memory.
fn worst(bytes: usize, what: &str) -> String {
    match what {
        "arrays" => format!(r#"{{"x":[{}0]}}"#, "0,".repeat(bytes / 2)),
        "objects" => {
            let fields: Vec<String> = (0..bytes / 12).map(|n| format!(r#""{n:07}":0"#)).collect();
            format!("{{{}}}", fields.join(","))
        }
        "nests" => format!(r#"{{"x":[{}[]]}}"#, "[],".repeat(bytes / 3)),
        "text" => format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes)),
        // As many values as are let through.
        "least" => format!(r#"{{"x":[{}0],"y":"{}"}}"#, "0,".repeat(49_000), "x".repeat(bytes - 100_000)),
        other => panic!("{other}"),
    }
}

fn door() -> (Router, Waiting) {
    let metrics = Metrics::default();
    let (denials, waiting) = Denials::new(metrics.denials);
    let reviewer = Reviewer {
        policy: Policy::default().allowing("octo/"),
        trust: tokio::sync::watch::Sender::new(std::sync::Arc::new(crate::world::trust())).subscribe(),
        trusted_user: "system:serviceaccount:jct-system:jct".into(),
        deletions: jct::shared::Deletions::default(),
        executors: tokio::sync::watch::Sender::new(std::sync::Arc::default()).subscribe(),
        models: tokio::sync::watch::Sender::new(std::sync::Arc::default()).subscribe(),
        forges: tokio::sync::watch::Sender::new(std::sync::Arc::default()).subscribe(),
        clock: jct::shared::Clock::default(),
    };
    (webhook::router(reviewer, denials, metrics.webhook, NamespaceLimits::none(), false), waiting)
}

async fn reviews(text: Bytes, count: usize) {
    let (router, _waiting) = door();
    let answers = (0..count).map(|_| {
        let (router, text) = (router.clone(), text.clone());
        tokio::spawn(async move {
            let sent = Request::post("/mutate").header("content-length", text.len());
            let response = router.oneshot(sent.body(pieces(&text)).unwrap()).await.unwrap();
            let status = response.status();
            response.into_body().collect().await.unwrap();
            status
        })
    });
    for status in join_all(answers).await {
        let status = status.unwrap();
        assert!(
            [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE, StatusCode::PAYLOAD_TOO_LARGE].contains(&status),
            "{status}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_review_costs_much_memory() {
    const TEST: &str = "no_review_costs_much_memory";
    if let Ok(what) = std::env::var(MEASURE) {
        let raised = match what.strip_prefix("before ") {
            // As reviews were read before, of the same body.
            Some(what) => {
                let text = review(&worst(3 << 20, what));
                raised_by(async { drop(serde_json::from_slice::<AdmissionReview<DynamicObject>>(&text).unwrap()) })
                    .await
            }
            None => {
                let (what, count) = what.split_once(' ').unwrap();
                let text = review(&worst(3 << 20, what));
                raised_by(reviews(text, count.parse().unwrap())).await
            }
        };
        return println!("raised by {raised}");
    }
    for what in ["arrays", "objects", "nests", "text", "least"] {
        for count in [1, 64] {
            let raised = measured(TEST, &format!("{what} {count}"));
            assert!(raised < 64 * MIB, "{count} of {what}: {} MiB", raised / MIB);
        }
    }
    let before = measured(TEST, "before arrays");
    assert!(before > 64 * MIB, "the control: one took {} MiB", before / MIB);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_read() {
    let (router, _waiting) = door();
    let text = review(&worst(8 << 20, "text"));
    let sent = Request::post("/mutate").body(pieces(&text)).unwrap();
    assert_eq!(router.oneshot(sent).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_may_do_nothing_costs_nothing() {
    const TEST: &str = "who_may_do_nothing_costs_nothing";
    if std::env::var(MEASURE).is_ok() {
        let world = std::sync::Arc::new(World::with(|settings| settings.timeout = Duration::from_secs(30)).await);
        world.get(NOBODY, "/tasks?namespace=team").await;
        let text = Bytes::from(worst((1 << 20) - 100, "arrays"));
        let raised = raised_by(async {
            let answers = (0..120).map(|n| {
                let (world, body) = (world.clone(), pieces(&text));
                let path = if n % 2 == 0 { "/tasks/enqueue" } else { "/cwom/issues" };
                let sent = request("POST", NOBODY, path).header("content-type", "application/json");
                async move { world.send(sent.body(body).unwrap()).await.status }
            });
            assert!(join_all(answers).await.iter().all(|status| *status == 403));
        })
        .await;
        return println!("raised by {raised}");
    }
    let raised = measured(TEST, "refused");
    assert!(raised < 16 * MIB, "{} MiB", raised / MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn large_rows_make_no_large_answers() {
    const TEST: &str = "large_rows_make_no_large_answers";
    if std::env::var(MEASURE).is_ok() {
        let world = std::sync::Arc::new(World::new().await);
        let inputs = json!({"text": "x".repeat(250 << 10)});
        let made = world.enqueue(json!({"inputs": inputs.clone()})).await;
        let row = world.store.task(made.body["task_id"].as_str().unwrap().parse().unwrap()).await.unwrap().unwrap();
        for n in 0..200 {
            let at = row.created_at;
            let new = NewTask {
                id: Id::derive(at, &n.to_string()),
                trace_id: row.trace_id.clone(),
                namespace: "team".into(),
                name: n.to_string(),
                uid: n.to_string(),
                submitted_by: None,
                actor: Actor::controller(),
                task: row.task.clone(),
                executor: None,
                model: None,
                delivery: None,
                max_attempts: 1,
                create_cwom: false,
                for_run: None,
                client: None,
                suspended: false,
                shown: jct::store::Shown::default(),
                created_at: at,
                recorded_at: at,
            };
            world.store.record_task(new).await.unwrap();
        }
        // Fifty readers who do not read: their answers wait.
        let raised = raised_by(async {
            let asked = (0..50).map(|_| world.unread(ADA, "/tasks?namespace=team&limit=1000"));
            let answers = join_all(asked).await;
            assert!(answers.iter().any(|answer| answer.status() == 200));
        })
        .await;
        let (mut pages, mut seen, mut next) = (0, 0, Some("/tasks?namespace=team&limit=1000".to_owned()));
        while let Some(path) = next {
            let page = world.get(ADA, &path).await;
            assert!(page.status == 200 && page.text.len() < 5 << 20, "{}", page.status);
            (pages, seen) = (pages + 1, seen + page.body.as_array().unwrap().len());
            next = page.next();
        }
        assert_eq!(seen, 201, "on {pages} pages");
        return println!("raised by {raised}");
    }
    let raised = measured(TEST, "pages");
    assert!(raised < 128 * MIB, "{} MiB", raised / MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_anybody_may_ask_for_is_in_memory_once() {
    const TEST: &str = "what_anybody_may_ask_for_is_in_memory_once";
    if std::env::var(MEASURE).is_ok() {
        let world = World::new().await;
        let raised = raised_by(async {
            for path in ["/openapi.json", "/docs/swagger-ui-bundle.js"] {
                let answers = join_all((0..500).map(|_| world.unread("", path))).await;
                assert!(answers.iter().all(|answer| answer.status() == 200));
            }
        })
        .await;
        return println!("raised by {raised}");
    }
    let raised = measured(TEST, "public");
    assert!(raised < 32 * MIB, "{} MiB", raised / MIB);
}

/// A file of a GiB that is read slowly by some, and events that many follow: neither its size nor their number is in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn large_files_and_many_followers_take_little() {
    const TEST: &str = "large_files_and_many_followers_take_little";
    if let Ok(what) = std::env::var(MEASURE) {
        let world = World::with(|settings| settings.max_followers = 20_000).await;
        let mut ran = world.runs().await;
        ran.event("attempt_started");
        if what == "files" {
            std::fs::create_dir(ran.dir.join("artifacts")).unwrap();
            std::fs::File::create(ran.dir.join("artifacts/large")).unwrap().set_len(1 << 30).unwrap();
            ran.ends(Outcome::Succeeded, &[]).await;
            // What has only just been written is hashed each time.
            tokio::time::sleep(Duration::from_secs(3)).await;
            let path = ran.path("trace/1/artifacts/large");
            let raised = raised_by(async {
                let before = bytes_read();
                assert_eq!(world.unread(ADA, &path).await.status(), 200);
                let hashed = bytes_read();
                assert!(hashed - before >= 1 << 30, "the control: before the first answer it is read and hashed");
                assert_eq!(world.unread(ADA, &path).await.status(), 200);
                let again = bytes_read() - hashed;
                assert!(again < 64 * MIB, "what is remembered is not hashed again: {again} bytes were read");
                let waiting = join_all((0..50).map(|_| world.unread(ADA, &path))).await;
                let mut body = world.unread(ADA, &path).await.into_body().into_data_stream();
                let mut count = 0;
                while let Some(piece) = futures::StreamExt::next(&mut body).await {
                    count += piece.unwrap().len();
                }
                assert_eq!(count, 1 << 30);
                drop(waiting);
            })
            .await;
            return println!("raised by {raised}");
        }
        // Many events that wait for those who do not read.
        let events = if what == "sockets" { 20_000 } else { 2_000 };
        (0..events).for_each(|_| ran.event("executor_step"));
        let path = ran.path("events?follow=true");
        if what == "sockets" {
            let address = world.listen();
            let asked = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADA}\r\n\r\n").into_bytes();
            let raised = raised_by(async {
                let mut followers = Vec::new();
                for _ in 0..500 {
                    let mut stream = connect(address).await;
                    stream.write_all(&asked).await.unwrap();
                    let mut begin = [0; 12];
                    stream.read_exact(&mut begin).await.unwrap();
                    assert_eq!(&begin, b"HTTP/1.1 200");
                    followers.push(stream);
                }
                tokio::time::sleep(Duration::from_secs(5)).await;
            })
            .await;
            return println!("raised by {raised}");
        }
        let raised = raised_by(async {
            let mut followers = Vec::new();
            for _ in 0..500 {
                let follower = world.unread(ADA, &path).await;
                assert_eq!(follower.status(), 200);
                followers.push(follower);
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        })
        .await;
        return println!("raised by {raised}");
    }
    for what in ["files", "followers", "sockets"] {
        let raised = measured(TEST, what);
        println!("{what}: {} MiB", raised / MIB);
        assert!(raised < 64 * MIB, "{what}: {} MiB", raised / MIB);
    }
}

/// To a server that may not listen yet.
async fn connect(address: std::net::SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
