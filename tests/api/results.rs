//! Reading what a Task made, while it runs and afterwards.

use std::process::Command;

use jct::domain::id::sha256_hex;
use jct::domain::trace::Outcome;
use serde_json::{Value, json};

use crate::world::{ADA, CI, EVE, NOBODY, ROOT, World, request};

fn paths(attempt: &Value) -> Vec<&str> {
    attempt["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_trace_is_listed_while_it_runs_after_it_ended_and_when_it_is_gone() {
    let world = World::new().await;
    let mut ran = world.runs().await;
    ran.event("attempt_started");
    ran.write("artifacts/report.md", "# Not yet");
    let running = ran.get("trace").await;
    assert_eq!(running.status, 200, "{}", running.text);
    let attempt = &running.body[0];
    assert_eq!(paths(attempt), ["task.json", "events.jsonl"], "what an executor may be writing is not there");
    assert_eq!(
        (&attempt["sealed"], &attempt["outcome"], &attempt["verified"]),
        (&json!(false), &json!(null), &json!(null))
    );
    assert_eq!(attempt["files"][1]["sha256"], json!(null));

    ran.ends(Outcome::Failed, &[]).await;
    let mut ran = ran.again().await;
    ran.write("artifacts/report.md", "# Report");
    ran.ends(Outcome::Succeeded, &[(".md", "text/markdown; charset=utf-8")]).await;
    let ended = ran.get("trace").await.body;
    assert_eq!(ended.as_array().unwrap().len(), 2);
    assert_eq!((&ended[0]["outcome"], &ended[1]["outcome"]), (&json!("failed"), &json!("succeeded")));
    assert_eq!(paths(&ended[1]), ["artifacts/report.md", "manifest.json", "task.json"]);
    let report = &ended[1]["files"][0];
    assert_eq!(report["sha256"], json!(sha256_hex(b"# Report")));
    assert_eq!((&report["size_bytes"], &report["media_type"]), (&json!(8), &json!("text/markdown; charset=utf-8")));
    assert_eq!((&ended[1]["sealed"], &ended[1]["verified"]), (&json!(true), &json!(false)), "no pod announced it");
    let manifest = std::fs::read(ran.dir.join("manifest.json")).unwrap();
    assert_eq!(ended[1]["manifest_sha256"], json!(sha256_hex(&manifest)));

    ran.removed().await;
    let removed = ran.get("trace").await.body;
    assert!(removed[1]["removed_at"].is_string() && removed[0]["removed_at"].is_null());
    for rest in ["trace/2/artifacts/report.md", "trace/2.tar.gz", "events", "log", "events?follow=true"] {
        let gone = ran.get(rest).await;
        if rest.contains("follow") {
            assert!(gone.text.contains(r#""reason":"trace_removed""#), "{}", gone.text);
        } else {
            assert_eq!((gone.status, &gone.body["detail"]["error"]), (410, &json!("trace_removed")), "{rest}");
        }
    }
}

#[tokio::test]
async fn a_sealed_file_is_served_with_its_digest_in_whole_and_in_parts() {
    let world = World::new().await;
    let mut ran = world.runs().await;
    let content: Vec<u8> = (0..300_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    ran.write("artifacts/out/data.bin", &content);
    ran.ends(Outcome::Succeeded, &[(".bin", "application/octet-stream")]).await;
    let path = ran.path("trace/1/artifacts/out/data.bin");
    let (status, headers, bytes) = world.bytes(&path, &[]).await;
    assert_eq!((status, bytes.as_deref()), (200, Ok(content.as_slice())));
    let tag = format!("\"{}\"", sha256_hex(&content));
    assert!(headers["etag"] == tag && headers["content-length"] == "1200000", "{headers:?}");
    assert_eq!(&headers["content-disposition"], "attachment; filename=\"data.bin\"; filename*=UTF-8''data.bin");
    assert_eq!(&headers["cache-control"], "private, no-cache");
    for (range, expected, said) in [
        ("bytes=100-199", &content[100..200], "bytes 100-199/1200000"),
        ("bytes=1199990-", &content[1_199_990..], "bytes 1199990-1199999/1200000"),
        ("bytes=-5", &content[1_199_995..], "bytes 1199995-1199999/1200000"),
    ] {
        let (status, headers, bytes) = world.bytes(&path, &[("range", range)]).await;
        assert_eq!((status, bytes.as_deref(), &headers["content-range"]), (206, Ok(expected), &said.parse().unwrap()));
    }
    let (status, headers, _) = world.bytes(&path, &[("range", "bytes=1200000-")]).await;
    assert_eq!((status, &headers["content-range"]), (416, &"bytes */1200000".parse().unwrap()));
    let (status, _, bytes) = world.bytes(&path, &[("if-none-match", &tag)]).await;
    assert_eq!((status, bytes), (304, Ok(Vec::new())));
    let (status, ..) = world.bytes(&path, &[("range", "bytes=0-1"), ("if-range", "\"another\"")]).await;
    assert_eq!(status, 200, "a part of another file is of no use");
    let (status, ..) = world.bytes(&path, &[("range", "bytes=0-1"), ("if-range", &tag)]).await;
    assert_eq!(status, 206);
    let head = world.send(request("HEAD", ADA, &path).body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!((head.status, head.header("content-length"), head.text.as_str()), (200, "1200000", ""));
}

#[tokio::test]
async fn what_is_not_sealed_is_told_as_it_is_now() {
    let world = World::new().await;
    let ran = world.runs().await;
    ran.write("stdout.log", "one\n");
    let path = ran.path("trace/1/stdout.log");
    let (status, headers, bytes) = world.bytes(&path, &[]).await;
    assert_eq!((status, bytes), (200, Ok(b"one\n".to_vec())));
    assert!(!headers.contains_key("etag") && headers["cache-control"] == "no-store", "{headers:?}");
    ran.write("stdout.log", "one\ntwo\n");
    assert_eq!(world.bytes(&path, &[]).await.2, Ok(b"one\ntwo\n".to_vec()));
    ran.write("artifacts/report.md", "# Not yet");
    for name in ["artifacts/report.md", "manifest.json", "none"] {
        assert_eq!(ran.get(&format!("trace/1/{name}")).await.status, 404, "{name}");
    }
    for attempt in ["0", "2", "01", "-1", "x", "99999999999", "1.zip"] {
        assert_eq!(ran.get(&format!("trace/{attempt}/stdout.log")).await.status, 404, "{attempt}");
        assert_eq!(ran.get(&format!("trace/{attempt}.tar.gz")).await.status, 404, "{attempt}");
    }
}

#[tokio::test]
async fn an_archive_is_a_trace_that_can_be_verified_elsewhere() {
    let world = World::new().await;
    let mut ran = world.runs().await;
    ran.event("attempt_started");
    let long = format!("artifacts/{}/größe.txt", "x".repeat(200));
    ran.write(&long, "long");
    ran.write("artifacts/report.md", "# Report");
    ran.ends(Outcome::Succeeded, &[]).await;
    let path = ran.path("trace/1.tar.gz");
    let (status, headers, bytes) = world.bytes(&path, &[]).await;
    assert!(status == 200 && headers["content-type"] == "application/gzip");
    let unpacked = unpack(&bytes.unwrap());
    let attempt = unpacked.path().join(jct::domain::trace::folder("team", ran.task.id, 1));
    assert_eq!(std::fs::read_to_string(attempt.join(&long)).unwrap(), "long");
    let mut checked = Vec::new();
    jct::trace::verify(unpacked.path(), None, &mut |one| checked.push(one)).unwrap();
    assert!(checked.len() == 1 && checked[0].problems.is_empty(), "{checked:?}");

    ran.tamper("artifacts/report.md", b"# Rep0rt");
    let unpacked = unpack(&world.bytes(&path, &[]).await.2.unwrap());
    let attempt = unpacked.path().join(jct::domain::trace::folder("team", ran.task.id, 1));
    assert!(!attempt.join("artifacts/report.md").exists() && attempt.join(&long).exists());
    let mismatch = std::fs::read_to_string(attempt.join("MISMATCH.txt")).unwrap();
    assert!(mismatch.contains("artifacts/report.md: its digest is another one") && mismatch.lines().count() == 3);
}

fn unpack(archive: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    std::fs::write(&path, archive).unwrap();
    let done = Command::new("tar").arg("-xzf").arg(&path).arg("-C").arg(folder.path()).output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    std::fs::remove_file(path).unwrap();
    folder
}

#[tokio::test]
async fn a_trace_is_for_who_may_get_the_task_and_its_traces() {
    let world = World::new().await;
    let mut ran = world.runs().await;
    ran.ends(Outcome::Succeeded, &[]).await;
    let rests =
        ["trace", "trace/1/task.json", "trace/1.tar.gz", "events", "events?follow=true", "log", "log?follow=true"];
    for rest in rests {
        let path = ran.path(rest);
        for token in [EVE, NOBODY, CI] {
            let answer = world.get(token, &path).await;
            assert_eq!((answer.status, &answer.body), (404, &json!({"detail": "Task not found"})), "{rest}");
        }
        assert_eq!(world.get(ROOT, &path).await.status, 200, "{rest}");
    }
    // To see Tasks is one thing, to read what they made another one.
    world.cluster.rights.lock().unwrap().insert("ci", vec![("get", "tasks", "team")]);
    let mut world = world;
    world.restart();
    for rest in rests {
        let answer = world.get(CI, &format!("/tasks/{}/{rest}", world_task(&world).await)).await;
        assert_eq!(answer.status, 403, "{rest}");
        assert_eq!(
            answer.body["detail"]["message"], "user \"ci\" may not get tasks.jct.dev/trace in namespace \"team\"",
            "{rest}"
        );
    }
}

async fn world_task(world: &World) -> String {
    world.get(ADA, "/tasks?namespace=team").await.body[0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn one_caller_has_a_part_of_the_streams() {
    let world = World::with(|settings| settings.max_followers = 40).await;
    let ran = world.runs().await;
    let path = ran.path("events?follow=true");
    let first = world.unread(ADA, &path).await;
    let second = world.unread(ADA, &path).await;
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    let refused = world.get(ADA, &path).await;
    assert_eq!((refused.status, &refused.body["detail"]["error"]), (429, &json!("too_many_requests")));
    assert_eq!(refused.header("retry-after"), "5");
    assert_eq!(world.unread(ROOT, &path).await.status(), 200, "others have theirs");
    assert_eq!(ran.get("trace").await.status, 200, "what does not last is not counted");
    drop(first);
    let freed = async {
        while world.unread(ADA, &path).await.status() != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), freed).await.expect("the place is given back");
    let metrics = world.get(ROOT, "/metrics").await.text;
    assert!(metrics.contains("jct_api_streams_ended_total{kind=\"events\",reason=\"gone\"}"), "{metrics}");
}
