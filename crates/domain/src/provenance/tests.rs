use rstest::rstest;
use serde_json::json;

use super::descriptors::image_sha256;
use super::*;
use crate::trace::{EVENTS_FILE, FileEntry, MODEL_FILE, STDERR_FILE};
use crate::trace::{ExecutorCost, ExecutorResult, FileKind, Source, TASK_FILE};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn entry(path: &str, digit: &str) -> FileEntry {
    FileEntry {
        path: path.into(),
        kind: FileKind::Report,
        media_type: "text/plain".into(),
        size_bytes: 1,
        sha256: digit.repeat(64),
    }
}

fn manifest() -> Manifest {
    Manifest {
        attempt: 2,
        task_sha256: "0".repeat(64),
        source: Some(Source {
            url: "https://git.example/octo/hello.git".into(),
            git_ref: "feature/#1".into(),
            commit: "c0ffee".repeat(6) + "c0ff",
        }),
        ended_at: time("2026-03-01T12:05:00Z"),
        files: vec![
            entry("artifacts/report.md", "1"),
            entry("artifactsx", "2"),
            entry(EVENTS_FILE, "3"),
            entry(STDERR_FILE, "4"),
            entry(TASK_FILE, "0"),
        ],
        ..Manifest::example()
    }
}

fn facts<'a>(trace_id: &'a TraceId, images: &'a [ContainerImage], bound: Bound<'a>) -> Facts<'a> {
    Facts {
        task_id: Id::derive(time("2026-03-01T12:00:00Z"), "uid"),
        trace_id,
        namespace: "team",
        submitted_by: Some("ada@example.org"),
        attempt: 2,
        executor: "analysis",
        task: json!({"version": "1.0", "objective": "Look around"}),
        source_url: "https://git.example/octo/hello.git",
        git_ref: "main",
        commit: None,
        images,
        announced: matches!(bound, Bound::Manifest { .. }).then_some(true),
        bound,
        outcome: Outcome::Succeeded,
        failure: None,
        exit_code: Some(0),
        started_at: Some(time("2026-03-01T12:00:00Z")),
        ended_at: Some(time("2026-03-01T12:05:00.25Z")),
        builder_id: DEFAULT_BUILDER_ID,
        version: "0.1.0",
        checkpoint: None,
    }
}

#[test]
fn the_statement_of_a_sealed_attempt_is_frozen() {
    let (trace_id, manifest, sha256) = (TraceId::derive("uid"), manifest(), "a".repeat(64));
    let images = [
        ContainerImage {
            container: "source".into(),
            image: "registry.example/jct-worker:1".into(),
            image_id: format!("registry.example/jct-worker@sha256:{}", "b".repeat(64)),
        },
        ContainerImage { container: "worker".into(), image: "jct-worker:1".into(), image_id: String::new() },
    ];
    let bound = Bound::Manifest { manifest: &manifest, sha256: &sha256 };
    let facts = facts(&trace_id, &images, bound);
    let statement = Statement::of(&facts);
    insta::assert_json_snapshot!("sealed", statement);
    assert_eq!(statement.to_payload(), Statement::of(&facts).to_payload());
    assert_eq!(serde_json::from_slice::<Statement>(&statement.to_payload()).unwrap(), statement);
    assert_eq!(statement.outcome(), Some("succeeded"));
}

#[test]
fn what_models_were_asked_is_told_with_its_sums() {
    let (trace_id, mut manifest, sha256) = (TraceId::derive("uid"), manifest(), "a".repeat(64));
    let usage_record = |manifest: &Manifest| {
        let bound = Bound::Manifest { manifest, sha256: &sha256 };
        let byproducts = Statement::of(&facts(&trace_id, &[], bound)).predicate.run_details.byproducts;
        byproducts.into_iter().find(|found| found.name.as_deref() == Some(MODEL_FILE))
    };
    assert_eq!(usage_record(&manifest), None);
    manifest.files.push(entry(MODEL_FILE, "5"));
    let cost = ExecutorCost { usd: Some(0.25), tokens: Some(120) };
    manifest.result = Some(ExecutorResult { cost: Some(cost), ..ExecutorResult::default() });
    let usage_record = usage_record(&manifest).unwrap();
    assert_eq!(usage_record.digest["sha256"], "5".repeat(64));
    assert_eq!(json!(usage_record.annotations), json!({"usd": 0.25, "tokens": 120}));
}

#[test]
fn the_statement_of_an_attempt_without_a_manifest_is_frozen() {
    let (trace_id, sha256) = (TraceId::derive("uid"), "f".repeat(64));
    let facts = Facts {
        outcome: Outcome::Failed,
        failure: Some(("OOMKilled", "the worker ran out of memory")),
        exit_code: Some(137),
        started_at: None,
        commit: Some("0123456789012345678901234567890123456789"),
        ..facts(&trace_id, &[], Bound::Incomplete { sha256: &sha256 })
    };
    insta::assert_json_snapshot!("incomplete", Statement::of(&facts));
    let unfetched = Statement::of(&Facts { commit: None, ..facts });
    assert_eq!(unfetched.predicate.build_definition.resolved_dependencies, []);
}

#[test]
fn the_newest_checkpoint_of_the_audit_log_is_in_it() {
    let (trace_id, sha256) = (TraceId::derive("uid"), "f".repeat(64));
    let checkpoint = Checkpoint { seq: 7, hash: "ab".repeat(32), time: time("2026-03-01T12:04:00Z") };
    let facts = facts(&trace_id, &[], Bound::Incomplete { sha256: &sha256 });
    let payload = Statement::of(&Facts { checkpoint: Some(&checkpoint), ..facts }).to_payload();
    let statement: Statement = serde_json::from_slice(&payload).unwrap();
    assert_eq!(statement.predicate.build_definition.internal_parameters.audit_checkpoint, Some(checkpoint));
    let text = String::from_utf8(payload).unwrap();
    assert!(text.contains(r#""auditCheckpoint":{"seq":7,"hash":"abab"#), "{text}");
}

#[test]
fn without_a_pod_the_configured_image_is_named() {
    let (trace_id, sha256) = (TraceId::derive("uid"), "a".repeat(64));
    let manifest = Manifest { image: Some("registry.example/agent:2".into()), ..manifest() };
    let statement = Statement::of(&facts(&trace_id, &[], Bound::Manifest { manifest: &manifest, sha256: &sha256 }));
    let image = statement.predicate.build_definition.resolved_dependencies.last().unwrap().clone();
    assert_eq!((image.name.as_deref(), image.uri.as_deref()), (Some("executor"), Some("registry.example/agent:2")));
    assert!(image.digest.is_empty());
}

#[rstest]
#[case("", None)]
#[case("jct-worker:1", None)]
#[case("sha256:abc", None)]
fn an_image_id_without_a_digest_has_none(#[case] image_id: &str, #[case] digest: Option<&str>) {
    assert_eq!(image_sha256(image_id), digest);
    let upper = format!("sha256:{}", "A".repeat(64));
    assert_eq!(image_sha256(&upper), None);
}

#[test]
fn fields_that_are_not_known_are_passed_over() {
    let (trace_id, sha256) = (TraceId::derive("uid"), "f".repeat(64));
    let statement = Statement::of(&facts(&trace_id, &[], Bound::Incomplete { sha256: &sha256 }));
    let mut json = serde_json::to_value(&statement).unwrap();
    json["predicate"]["runDetails"]["jct_later"] = json!(1);
    json["subject"][0]["downloadLocation"] = json!("https://elsewhere.example");
    assert_eq!(serde_json::from_value::<Statement>(json).unwrap(), statement);
}
