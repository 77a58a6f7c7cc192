//! An executor with a model, and a relay that the test plays.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread::{self, JoinHandle};

use jct_domain::FailureReason;
use jct_domain::executor::Executor;
use jct_domain::model::ExecutorModel;
use jct_domain::trace::Outcome;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Pod, Repository, Server, scripted};

/// Asks, and tries what it may not.
const SCRIPT: &str = r#"
readlink /proc/self/fd/0 >"$JCT_OUT/input"
env | grep ^JCT_MODEL | sort >"$JCT_OUT/variables"
ask() { bash -c "exec 3<>/dev/tcp/127.0.0.1/$1 && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && cat <&3"; }
ask 8089 >"$JCT_OUT/answer" 2>&1 || echo none
ask 8090 >"$JCT_OUT/elsewhere" 2>&1 || exit "$CODE"
"#;

fn with_model(code: u8) -> Executor {
    let mut executor = scripted(SCRIPT);
    executor.env.insert("CODE".into(), code.to_string());
    let aliases = vec!["small".into(), "large".into()];
    executor.model = Some(ExecutorModel { aliases, ..ExecutorModel::default() });
    executor
}

/// Lets the supervisor in as a relay does, answers what comes, and leaves a record, or what is wrong with it.
fn relay(work: &Path, leaves: (&'static str, String)) -> JoinHandle<usize> {
    relay_that_says(b"", work, leaves)
}

/// The same, with a word for the supervisor.
fn relay_that_says(says: &'static [u8], work: &Path, leaves: (&'static str, String)) -> JoinHandle<usize> {
    let private = work.join("private");
    let door = private.join("model");
    let listener = UnixListener::bind(&door).unwrap();
    thread::spawn(move || {
        let (mut channel, _) = listener.accept().unwrap();
        fs::remove_file(&door).unwrap();
        channel.write_all(b"g").unwrap();
        channel.write_all(says).unwrap();
        let mut connections = 0;
        while let Some(connection) = jct_socket_proxy::receive(&channel).unwrap() {
            connections += 1;
            let (stream, _lease) = connection.into_parts();
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            (&stream).write_all(b"HTTP/1.0 200 OK\r\n\r\nfrom the model\n").unwrap();
        }
        let (name, text) = leaves;
        fs::write(private.join("unfinished"), text).unwrap();
        fs::rename(private.join("unfinished"), private.join(name)).unwrap();
        connections
    })
}

fn exchange(status: u16, refused: Option<&str>) -> String {
    let mut line = json!({
        "ts": "2026-03-01T12:00:00Z", "seq": 1, "id": "a", "attempt": "x/1", "trace_id": "trace-1", "dialect": "openai_chat",
        "path": "/v1/chat/completions", "alias": "small", "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
        "gen_ai.usage.input_tokens": 100, "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.cache_creation.input_tokens": 0, "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.reasoning.output_tokens": 0, "usage": "reported", "usd": 0.25, "http.response.status_code": status,
        "request_bytes": 10, "request_sha256": "a", "response_bytes": 10, "response_sha256": "b", "latency_ms": 5,
    });
    if let Some(refused) = refused {
        line["error.type"] = json!(refused);
    }
    format!("{line}\n")
}

fn pod(executor: &Executor) -> Pod {
    let repository = Repository::new();
    repository.write("a", "1\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main").with_executor(executor);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    pod
}

fn artifact(pod: &Pod, name: &str) -> String {
    fs::read_to_string(pod.trace().join("artifacts").join(name)).unwrap()
}

fn event(pod: &Pod, name: &str) -> Option<Value> {
    let found = pod.events().into_iter().find(|event| event.event == name);
    found.map(|event| Value::Object(event.fields))
}

#[test]
fn an_executor_with_a_model_reaches_that_and_nothing_else_and_its_ledger_is_sealed() {
    let pod = pod(&with_model(0));
    let relay = relay(&pod.work(), ("model.jsonl", exchange(200, None)));
    let (termination, manifest) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
    pod.verify(&termination, &manifest);
    assert_eq!(relay.join().unwrap(), 1, "connections");
    assert!(artifact(&pod, "answer").ends_with("from the model\n"), "{}", artifact(&pod, "answer"));
    assert!(artifact(&pod, "elsewhere").contains("Connection refused"), "{}", artifact(&pod, "elsewhere"));
    assert_eq!(artifact(&pod, "input"), "/dev/null\n", "nothing of what it was confined by is left to it");
    assert_eq!(artifact(&pod, "variables"), "JCT_MODEL=small\nJCT_MODEL_URL=http://127.0.0.1:8089\n");
    assert_eq!(fs::read_to_string(pod.trace().join("model.jsonl")).unwrap(), exchange(200, None));
    assert!(manifest.files.iter().any(|file| file.path == "model.jsonl"));
    let cost = manifest.result.unwrap().cost.unwrap();
    assert_eq!((cost.usd, cost.tokens), (Some(0.25), Some(120)));
    let used = event(&pod, "model_used").unwrap();
    assert_eq!((&used["requests"], &used["usd"]), (&json!(1), &json!(0.25)));
}

/// The control: the same program, without.
#[test]
fn an_executor_without_a_model_has_no_socket_for_it() {
    let mut executor = with_model(0);
    executor.model = None;
    let pod = pod(&executor);
    let (termination, manifest) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
    assert!(artifact(&pod, "answer").contains("Operation not permitted"), "{}", artifact(&pod, "answer"));
    assert_eq!((artifact(&pod, "variables").as_str(), manifest.result), ("", None));
    assert!(!pod.trace().join("model.jsonl").exists() && event(&pod, "model_record_missing").is_none());
}

#[rstest]
#[case(7, 429, Some("BUDGET_EXCEEDED"), Some(FailureReason::ModelBudgetExceeded))]
#[case(0, 429, Some("BUDGET_EXCEEDED"), Some(FailureReason::ModelBudgetExceeded))]
#[case(7, 503, Some("MODEL_UNAVAILABLE"), Some(FailureReason::ModelUnavailable))]
#[case(7, 200, None, Some(FailureReason::ExecutorFailed))]
#[test]
fn the_end_of_the_model_is_why_the_attempt_ended(
    #[case] code: u8,
    #[case] status: u16,
    #[case] refused: Option<&'static str>,
    #[case] reason: Option<FailureReason>,
) {
    let pod = pod(&with_model(code));
    let relay = relay(&pod.work(), ("model.jsonl", exchange(status, refused)));
    let (termination, manifest) = pod.run();
    relay.join().unwrap();
    pod.verify(&termination, &manifest);
    assert_eq!(manifest.reason, reason, "{termination:?}");
    assert!(artifact(&pod, "answer").ends_with("from the model\n"), "what it made is kept");
}

#[test]
fn a_record_that_cannot_be_had_is_told() {
    let pod = pod(&with_model(0));
    let relay = relay(&pod.work(), ("model.trouble", "the broker is away".into()));
    let (termination, manifest) = pod.run();
    relay.join().unwrap();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
    assert_eq!(event(&pod, "model_record_missing").unwrap()["reason"], "the broker is away");
}

#[test]
fn who_goes_on_when_the_budget_is_used_up_is_ended_and_what_it_made_is_kept() {
    let mut executor = scripted("echo made >\"$JCT_OUT/made\"; exec sleep 300");
    executor.model = Some(ExecutorModel { aliases: vec!["small".into()], ..ExecutorModel::default() });
    let pod = pod(&executor);
    let relay = relay_that_says(b"u", &pod.work(), ("model.jsonl", exchange(429, Some("BUDGET_EXCEEDED"))));
    let began = std::time::Instant::now();
    let (termination, manifest) = pod.run();
    relay.join().unwrap();
    pod.verify(&termination, &manifest);
    assert_eq!(manifest.reason, Some(FailureReason::ModelBudgetExceeded), "{termination:?}");
    assert_eq!(artifact(&pod, "made"), "made\n");
    assert_eq!(event(&pod, "executor_ended").unwrap()["end"], "over_model_budget");
    // It had time to end by itself.
    assert!((10..60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}
