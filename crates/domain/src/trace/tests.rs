//! Manifests, and what they are refused for.

use rstest::rstest;

use super::*;

impl Manifest {
    /// That of a success, which tests change as they need.
    pub(crate) fn example() -> Self {
        let time: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        Self {
            version: MANIFEST_VERSION.into(),
            task_id: Id::derive(time, "uid"),
            trace_id: TraceId::derive("uid"),
            namespace: "team".into(),
            attempt: 1,
            executor: "analysis".into(),
            image: None,
            executor_sha256: None,
            worker: "jct 0.1.0".into(),
            task_sha256: "ab".into(),
            source: None,
            outcome: Outcome::Succeeded,
            reason: None,
            message: None,
            exit_code: Some(0),
            result: None,
            change: None,
            usage: None,
            started_at: time,
            ended_at: time,
            files: vec![FileEntry {
                path: TASK_FILE.into(),
                kind: FileKind::File,
                media_type: "application/json".into(),
                size_bytes: 2,
                sha256: "ab".into(),
            }],
        }
    }
}

#[rstest]
#[case("task.json", true)]
#[case("artifacts/report.md", true)]
#[case("", false)]
#[case("/etc/passwd", false)]
#[case("../other/1/task.json", false)]
#[case("artifacts/../../x", false)]
#[case("./task.json", false)]
#[case("artifacts//x", false)]
#[case("artifacts/", false)]
fn paths_stay_inside(#[case] path: &str, #[case] inside: bool) {
    assert_eq!(is_inside(path), inside, "{path}");
}

#[test]
fn a_manifest_is_believed_only_for_its_own_attempt() {
    let good = Manifest::example();
    let trace_id = TraceId::derive("uid");
    let expected =
        Expected { task_id: good.task_id, trace_id: &trace_id, namespace: "team", attempt: 1, task_sha256: "ab" };
    assert_eq!(good.check(&expected), Ok(()));
    assert_eq!(good.check(&Expected { attempt: 2, ..expected.clone() }), Err(InvalidManifest::OtherAttempt("attempt")));
    let other = TraceId::derive("other");
    assert!(good.check(&Expected { trace_id: &other, ..expected.clone() }).is_err());
    let contradiction = Manifest { reason: Some(FailureReason::ExecutorFailed), ..Manifest::example() };
    assert_eq!(contradiction.check(&expected), Err(InvalidManifest::Contradiction));
    let uncovered = Manifest { files: vec![], ..Manifest::example() };
    assert_eq!(uncovered.check(&expected), Err(InvalidManifest::TaskNotCovered));
    let mut twice = Manifest::example();
    twice.files.push(twice.files[0].clone());
    assert!(matches!(twice.check(&expected), Err(InvalidManifest::Path(_))));
}
