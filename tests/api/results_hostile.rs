//! Traces that somebody has made or changed to do harm.

use std::os::unix::fs::symlink;
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use http::Response;
use jct::domain::trace::Outcome;
use rstest::rstest;
use serde_json::json;

use crate::world::{ADA, World};

#[rstest]
#[case("artifacts/evil.html", "text/html; charset=utf-8", "<script>alert(1)</script>", "application/octet-stream")]
#[case("artifacts/evil.svg", "image/svg+xml", "<svg onload='alert(1)'/>", "application/octet-stream")]
#[case("artifacts/evil.pdf", "application/pdf", "%PDF-1.7", "application/octet-stream")]
#[case("artifacts/report.md", "text/markdown; charset=utf-8", "# <script>", "text/markdown; charset=utf-8")]
#[case("artifacts/x.txt", "text/html\r\nset-cookie: a=b", "x", "application/octet-stream")]
#[case("artifacts/%0Aset-cookie: a=b", "text/plain; charset=utf-8", "x", "text/plain; charset=utf-8")]
#[case("artifacts/\"; filename=evil.html;\"", "text/plain; charset=utf-8", "x", "text/plain; charset=utf-8")]
#[case("artifacts/größe \u{202e}lmth.x", "text/plain; charset=utf-8", "x", "text/plain; charset=utf-8")]
#[tokio::test]
async fn what_an_executor_made_stays_inert(
    #[case] name: &str,
    #[case] media_type: &str,
    #[case] content: &str,
    #[case] served: &str,
) {
    let world = World::new().await;
    let mut ran = world.runs().await;
    ran.write(name, content);
    ran.ends(Outcome::Succeeded, &[(name, media_type)]).await;
    let encode = |byte| if byte == b'/' { "/".into() } else { format!("%{byte:02X}") };
    let encoded: String = name.bytes().map(encode).collect();
    let (status, headers, bytes) = world.bytes(&ran.path(&format!("trace/1/{encoded}")), &[]).await;
    assert_eq!((status, bytes.unwrap()), (200, content.as_bytes().to_vec()));
    assert_eq!(headers["content-type"], served);
    assert!(headers["content-disposition"].to_str().unwrap().starts_with("attachment; filename=\""));
    assert_eq!(headers["content-disposition"].to_str().unwrap().matches('"').count(), 2, "{headers:?}");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("sandbox") && !policy.contains("allow-"), "{policy}");
    assert!(!headers.contains_key("set-cookie"));
}

#[rstest]
#[case("../1/task.json")]
#[case("..%2f1%2ftask.json")]
#[case("%2e%2e/%2e%2e/secret")]
#[case("%2fetc%2fhostname")]
#[case("artifacts/..%2ftask.json")]
#[case("artifacts//report.md")]
#[case("./task.json")]
#[case("artifacts")]
#[case("artifacts/")]
#[case("task.json%00")]
#[case("task.json%00.md")]
#[case("%ff")]
#[case(".%5c..%5csecret")]
#[case(".task.json.new")]
#[tokio::test]
async fn a_path_leads_nowhere_but_to_files_of_the_trace(#[case] path: &str) {
    let world = World::new().await;
    let mut ran = world.runs().await;
    ran.write("artifacts/report.md", "# Report");
    ran.write("../../secret", "secret");
    for sealed in [false, true] {
        if sealed {
            ran.ends(Outcome::Succeeded, &[]).await;
        }
        let answer = ran.get(&format!("trace/1/{path}")).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
    assert_eq!(ran.get("trace/1/task.json").await.status, 200, "the control");
}

#[rstest]
#[case(false)]
#[case(true)]
#[tokio::test]
async fn links_are_not_followed(#[case] sealed: bool) {
    let world = World::new().await;
    let mut ran = world.runs().await;
    ran.write("artifacts/report.md", "# Report");
    ran.write("stdout.log", "out");
    std::fs::write(world.traces.root().join("secret"), "secret").unwrap();
    if sealed {
        ran.ends(Outcome::Succeeded, &[]).await;
        ran.tamper("stdout.log", b"");
    }
    std::fs::remove_file(ran.dir.join("stdout.log")).unwrap();
    symlink("../../../secret", ran.dir.join("stdout.log")).unwrap();
    for rest in [
        "trace/1/stdout.log",
        "log?stream=stdout",
        "log?stream=stdout&follow=true&attempt=1",
        "trace/1.tar.gz",
        "trace",
    ] {
        if !sealed && rest.contains("follow") {
            continue;
        }
        let answer = ran.get(rest).await;
        assert!(!answer.text.contains("secret"), "{rest}: {}", answer.text);
        let expected = match rest {
            "trace" | "trace/1.tar.gz" => 200,
            _ if sealed => 409,
            "trace/1/stdout.log" => 404,
            _ => 200,
        };
        assert_eq!(answer.status, expected, "{rest}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_what_was_sealed_is_not_given_out() {
    let world = World::new().await;
    let mut ran = world.runs().await;
    ran.event("attempt_started");
    ran.write("artifacts/report.md", "# Report");
    ran.write("trace.log", "log\n");
    ran.ends(Outcome::Succeeded, &[]).await;
    assert_eq!(ran.get("trace/1/artifacts/report.md").await.status, 200);
    // As large as it was; and what was remembered of it is not believed.
    for (name, content, rest) in [
        ("artifacts/report.md", "# Rep0rt", "trace/1/artifacts/report.md"),
        ("manifest.json", "{}", "trace/1/manifest.json"),
        ("trace.log", "l0g\n", "log"),
        ("events.jsonl", "{}", "events"),
    ] {
        ran.tamper(name, content.as_bytes());
        let answer = ran.get(rest).await;
        assert_eq!((answer.status, &answer.body["detail"]["error"]), (409, &json!("trace_changed")), "{rest}");
    }
    let followed = ran.get("events?follow=true").await;
    assert!(followed.status == 200 && followed.text.contains(r#""reason":"trace_changed""#), "{}", followed.text);
    let metrics = world.get(crate::world::ROOT, "/metrics").await.text;
    assert!(metrics.contains("jct_api_trace_files_changed_total 5"), "{metrics}");
}

async fn first_piece(response: Response<Body>) -> (axum::body::BodyDataStream, usize) {
    let mut body = response.into_body().into_data_stream();
    let piece = body.next().await.unwrap().unwrap();
    (body, piece.len())
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_is_broken_off() {
    let world = World::new().await;
    let mut ran = world.runs().await;
    let content = vec![b'x'; 4 << 20];
    ran.write("artifacts/large", &content);
    ran.ends(Outcome::Succeeded, &[]).await;
    let path = ran.path("trace/1/artifacts/large");
    for (change, is_whole) in [(false, true), (true, false)] {
        let (mut body, mut count) = first_piece(world.unread(ADA, &path).await).await;
        if change {
            let mut other = content.clone();
            other[(4 << 20) - 1] = b'y';
            ran.tamper("artifacts/large", &other);
        }
        let mut broke_off = false;
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => count += piece.len(),
                Err(_) => broke_off = true,
            }
        }
        assert_eq!((count == content.len(), broke_off), (is_whole, !is_whole));
    }
}

#[tokio::test]
async fn a_right_that_is_lost_ends_a_download() {
    let world = World::with(|settings| settings.keep_decisions = Duration::from_millis(100)).await;
    let mut ran = world.runs().await;
    ran.write("artifacts/large", vec![b'x'; 4 << 20]);
    ran.ends(Outcome::Succeeded, &[]).await;
    let (mut body, _) = first_piece(world.unread(ADA, &ran.path("trace/1/artifacts/large")).await).await;
    world.cluster.rights.lock().unwrap().insert("ada", Vec::new());
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let mut broke_off = false;
    while let Some(piece) = body.next().await {
        broke_off |= piece.is_err();
    }
    assert!(broke_off);
}
