//! What one admission costs in the webhook: parsing the review, the gate, the seal, writing the answer. Besides, the gate
//! alone and a Job manifest. `cargo bench --bench gate`.

use std::sync::Arc;

use divan::{Bencher, black_box};
use jct::crd::Trust;
use jct::domain::task::Naming;
use jct::domain::{StampKey, StampKeys};
use jct::jobs::placement::{Placement, WayOut};
use jct::jobs::{Attempt, JobSettings, job};
use jct::policy::{Policy, Verdict, gate};
use jct::webhook::{Caller, Endpoint, Reviewer};
use jiff::Timestamp;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionReview};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

fn spec(inputs_bytes: usize) -> Value {
    json!({
        "requestedBy": {"kind": "human", "id": "ada"}, "objective": "Look around", "operation": "analysis",
        "target": {"repo": "octo/hello"}, "inputs": {"text": "x".repeat(inputs_bytes)},
    })
}

fn review(inputs_bytes: usize) -> Vec<u8> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "r", "operation": "CREATE", "name": "t", "namespace": "team", "dryRun": false,
            "kind": {"group": "jct.dev", "version": "v1", "kind": "Task"},
            "resource": {"group": "jct.dev", "version": "v1", "resource": "tasks"},
            "userInfo": {"username": "ada", "groups": []},
            "object": {"apiVersion": "jct.dev/v1", "kind": "Task", "metadata": {"name": "t"}, "spec": spec(inputs_bytes)},
        },
    });
    review.to_string().into_bytes()
}

/// One call of the mutating webhook, without the network.
#[divan::bench(args = [0, 16 * 1024, 240 * 1024])]
fn admission(bencher: Bencher, inputs_bytes: usize) {
    let body = review(inputs_bytes);
    let key = StampKey::from_slice(&[7; 32]).unwrap_or_else(|| std::process::abort());
    let trust = Trust::in_keys(StampKeys::new(key, Vec::new(), None), "jct-system");
    let reviewer = Reviewer {
        clock: jct::shared::Clock::default(),
        policy: Policy::default().allowing("octo/"),
        trust: tokio::sync::watch::Sender::new(Arc::new(trust)).subscribe(),
        trusted_user: String::new(),
        deletions: jct::shared::Deletions::default(),
        executors: tokio::sync::watch::Sender::new(Arc::default()).subscribe(),
        models: tokio::sync::watch::Sender::new(Arc::default()).subscribe(),
        forges: tokio::sync::watch::Sender::new(Arc::default()).subscribe(),
    };
    bencher.bench(|| {
        let parsed: Option<AdmissionReview<DynamicObject>> = serde_json::from_slice(black_box(&body)).ok();
        let request: Option<AdmissionRequest<DynamicObject>> = parsed.and_then(|review| review.try_into().ok());
        request.map(|request| {
            let review = reviewer.review(Endpoint::Mutate, Caller::Anonymous, &request, [1; 16], Timestamp::now());
            serde_json::to_vec(&review.response.into_review()).ok()
        })
    });
}

#[divan::bench]
fn gate_alone(bencher: Bencher) {
    let (spec, policy) = (spec(0), Policy::default().allowing("octo/"));
    bencher.bench(|| gate(black_box(&spec), Naming::CustomResource, &policy));
}

#[divan::bench]
fn job_manifest(bencher: Bencher) {
    let Verdict::Accepted(task) = gate(&spec(0), Naming::CustomResource, &Policy::default().allowing("octo/")) else {
        return;
    };
    let settings = settings();
    let created_at = jiff::Timestamp::UNIX_EPOCH;
    let (task_id, trace_id) = (jct::domain::Id::derive(created_at, "uid"), jct::domain::TraceId::derive("uid"));
    let attempt = Attempt {
        task_id,
        trace_id: &trace_id,
        namespace: "team",
        name: "t",
        task: &task,
        executor: &jct::domain::executor::Executor::builtin(jct::domain::executor::Builtin::Analysis),
        number: 1,
        task_sha256: "ab",
    };
    bencher.bench(|| serde_json::to_vec(&job(black_box(&attempt), &settings)).ok());
}

fn settings() -> JobSettings {
    JobSettings {
        namespace: "jct-system".into(),
        image: "jct-worker:1".into(),
        image_pull_policy: "IfNotPresent".into(),
        uid: 65532,
        cpu_request: "100m".into(),
        cpu_limit: "1".into(),
        memory_request: "128Mi".into(),
        memory_limit: "1Gi".into(),
        scratch_limit: "8Gi".into(),
        runtime_class: None,
        host_users: None,
        placement: Placement::default(),
        way_out: WayOut::default(),
        grace_seconds: 60,
        trace_claim: "jct-traces".into(),
        source_url_template: "https://git.example/{repo}.git".into(),
        source_max_files: 10,
        source_max_bytes: 20,
        source_timeout_seconds: 30,
        forge: None,
        broker: Default::default(),
    }
}
