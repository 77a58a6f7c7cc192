//! What hostile bodies cost. Each measurement is in a process of its own: this test, run again with a name in `MEASURE`.

use std::future::Future;
use std::process::Command;

use axum::Router;
use axum::body::{Body, Bytes};
use futures::future::join_all;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use jct::policy::Policy;
use jct::runtime::{Denials, Metrics, Waiting};
use jct::webhook::{self, Reviewer};
use kube::core::DynamicObject;
use kube::core::admission::AdmissionReview;
use tower::ServiceExt as _;

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
    peak() - before
}

/// What `test`, run in a process of its own with `what` to measure, prints.
fn measured(test: &str, what: &str) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("memory::{test}"), "--exact", "--nocapture", "--test-threads=1"])
        .env(MEASURE, what)
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
    let (denials, waiting) = Denials::new(&metrics);
    let reviewer = Reviewer {
        policy: Policy::default().allowing("octo/"),
        trust: tokio::sync::watch::Sender::new(std::sync::Arc::new(crate::world::trust())).subscribe(),
        trusted_user: "system:serviceaccount:jct-system:jct".into(),
        deletions: jct::runtime::Deletions::default(),
    };
    (webhook::router(reviewer, denials, metrics, false), waiting)
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
