//! `jct run` with a model: a scripted provider, and an executor that has no network and no key.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use jct_fake_model::{FakeModel, Script};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::machine::{Machine, environments_with, log_of, manifest_in, outcome, until};

pub const KEY: &str = "sk-of-a-provider-that-is-scripted";

/// A provider of all four dialects, at loopback.
pub struct Provider {
    pub fake: FakeModel,
    pub address: String,
    _runtime: Runtime,
}

impl Provider {
    pub fn new(script: Script) -> Self {
        let runtime = Runtime::new().unwrap();
        let fake = FakeModel::new(Script { key: Some(KEY.into()), ..script });
        let address = runtime.block_on(fake.listen()).unwrap().to_string();
        Self { fake, address, _runtime: runtime }
    }

    /// A configuration with a model of each dialect, granted to all namespaces for repositories of `octo`.
    pub fn models(&self, machine: &Machine) -> PathBuf {
        let aliases =
            [("claude", "anthropic"), ("gpt", "openai_responses"), ("chat", "openai_chat"), ("gemini", "gemini")];
        let url = format!("http://{}", self.address);
        let provider = |(_, dialect): &(&str, &str)| json!({"name": dialect, "dialect": dialect, "url": url, "allow_plaintext": true, "key": {"secret": "s", "key": "k"}});
        let model = |(alias, dialect): &(&str, &str)| json!({"alias": alias, "provider": dialect, "model": format!("real-{alias}"), "usd_per_million": {"input": 3, "output": 15}});
        let names: Vec<&str> = aliases.iter().map(|(alias, _)| *alias).collect();
        let all = json!({
            "providers": aliases.iter().map(provider).collect::<Vec<_>>(), "models": aliases.iter().map(model).collect::<Vec<_>>(),
            "grants": [{"namespaces": ["*"], "repos": ["octo/"], "aliases": names, "max_usd_per_day": 1000}],
        });
        let file = machine.path("models.yaml");
        fs::write(&file, all.to_string()).unwrap();
        file
    }
}

/// The variables with the keys of all of them.
pub fn keys() -> [(&'static str, &'static str); 4] {
    ["ANTHROPIC", "OPENAI_RESPONSES", "OPENAI_CHAT", "GEMINI"].map(|name| match name {
        "ANTHROPIC" => ("JCT_MODEL_KEY_ANTHROPIC", KEY),
        "OPENAI_RESPONSES" => ("JCT_MODEL_KEY_OPENAI_RESPONSES", KEY),
        "OPENAI_CHAT" => ("JCT_MODEL_KEY_OPENAI_CHAT", KEY),
        _ => ("JCT_MODEL_KEY_GEMINI", KEY),
    })
}

/// The exchanges of a trace.
pub fn ledger(told: &Value) -> Vec<Value> {
    let file = PathBuf::from(told["trace_folder"].as_str().unwrap()).join("model.jsonl");
    fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Asks once, writes what it got, and looks for what it should not have.
const ASKS: &str = r#"
cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >"$JCT_OUT/seen" 2>/dev/null
body='{"model": "'$JCT_MODEL'", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}'
exec 3<>/dev/tcp/127.0.0.1/8089
printf 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer dummy\r\ncontent-type: application/json\r\ncontent-length: %s\r\nconnection: close\r\n\r\n%s' ${#body} "$body" >&3
cat <&3 >answer.txt
(exec 4<>/dev/tcp/127.0.0.1/8090) 2>>"$JCT_OUT/elsewhere"
(exec 4<>/dev/tcp/10.0.0.1/80) 2>>"$JCT_OUT/elsewhere"
echo begun; sleep 1
grep -q 'HTTP/1.1 200' answer.txt
"#;

/// `jct run` of an executor that asks a model.
fn asking(machine: &Machine, models: Option<&PathBuf>, model: &Value) -> Command {
    let executors = json!({"executors": [{"name": "asks", "operations": ["code_change"], "image": "x", "command": ["bash", "-c", ASKS],
        "model": model}]});
    let file = machine.path("executors.yaml");
    fs::write(&file, executors.to_string()).unwrap();
    let mut command = machine.command(&json!({"operation": "code_change", "executor": "asks"}));
    command.arg("--executors").arg(file);
    if let Some(models) = models {
        command.arg("--models").arg(models);
    }
    for (name, _) in keys() {
        command.env_remove(name);
    }
    command
}

#[test]
fn an_executor_has_its_model_and_the_key_stays_here() {
    let (machine, provider) =
        (Machine::new(), Provider::new(Script { text: "As the model said.".into(), ..Script::default() }));
    let models = provider.models(&machine);
    let mut command = asking(&machine, Some(&models), &json!({"aliases": ["unknown", "chat"], "maxUsd": 1}));
    let child = command.env("JCT_MODEL_KEY_OPENAI_CHAT", KEY).spawn().unwrap();
    until("the executor", || log_of(&machine).contains("begun"));
    assert_eq!(environments_with(KEY), [0; 0], "while the executor runs");
    let (code, told, log) = outcome(child.wait_with_output().unwrap());
    assert_eq!(code, 0, "{log}");
    let trace = PathBuf::from(told["trace_folder"].as_str().unwrap());
    let read = |name: &str| String::from_utf8_lossy(&fs::read(trace.join(name)).unwrap()).into_owned();
    assert!(read("artifacts/change.patch").contains("As the model said."), "{}", read("artifacts/change.patch"));
    let elsewhere = read("artifacts/elsewhere");
    assert!(elsewhere.contains("refused") && elsewhere.contains("unreachable"), "{elsewhere}");
    assert!(read("artifacts/seen").contains("JCT_MODEL=chat") && !read("artifacts/seen").contains(KEY));
    let requests = provider.fake.requests();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
    let exchanges = ledger(&told);
    let [exchange] = exchanges.as_slice() else { panic!("{exchanges:?}") };
    assert_eq!((&exchange["alias"], &exchange["gen_ai.request.model"]), (&json!("chat"), &json!("real-chat")));
    let manifest = manifest_in(&told);
    assert_eq!(manifest.result.unwrap().cost.unwrap().usd, exchange["usd"].as_f64());
    assert!(manifest.files.iter().any(|file| file.path == "model.jsonl"));
    assert!(!format!("{told}{log}").contains(KEY));
    assert!(!trace.join("model-bodies.jsonl").exists(), "bodies are not recorded unless somebody wants that");
    machine.check();
}

#[test]
fn bodies_are_recorded_where_somebody_wants_that_and_without_secrets() {
    let secret = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let text = format!("You said {secret}.");
    let (machine, provider) = (Machine::new(), Provider::new(Script { text, ..Script::default() }));
    let models = provider.models(&machine);
    let mut configured: Value = serde_json::from_str(&fs::read_to_string(&models).unwrap()).unwrap();
    configured["record"] = json!("bodies");
    fs::write(&models, configured.to_string()).unwrap();
    let mut command = asking(&machine, Some(&models), &json!({"aliases": ["chat"], "maxUsd": 1}));
    let executors = machine.path("executors.yaml");
    let says = fs::read_to_string(&executors).unwrap().replace("\\\"hi\\\"", &format!("\\\"my token is {secret}\\\""));
    fs::write(&executors, says).unwrap();
    let (code, told, log) = outcome(command.env("JCT_MODEL_KEY_OPENAI_CHAT", KEY).output().unwrap());
    assert_eq!(code, 0, "{log}");
    assert!(provider.fake.requests()[0].json().to_string().contains(secret), "the control: it was in the prompt");
    let bodies = fs::read_to_string(PathBuf::from(told["trace_folder"].as_str().unwrap()).join("model-bodies.jsonl"));
    let bodies = bodies.unwrap();
    assert!(bodies.contains("my token is") && bodies.contains("You said") && !bodies.contains("ghp_0"), "{bodies}");
    let line: Value = serde_json::from_str(bodies.lines().next().unwrap()).unwrap();
    assert_eq!((&line["seq"], &line["truncated"]), (&json!(1), &json!(false)));
    assert!(manifest_in(&told).files.iter().any(|file| file.path == "model-bodies.jsonl"));
    machine.check();
}

#[test]
fn a_budget_is_the_tasks_whatever_it_tries() {
    let (machine, provider) = (Machine::new(), Provider::new(Script::default()));
    let models = provider.models(&machine);
    // Enough for one request of two.
    let mut command = asking(&machine, Some(&models), &json!({"aliases": ["chat"], "maxRequests": 1}));
    let script = machine.path("executors.yaml");
    let twice = fs::read_to_string(&script).unwrap().replace("echo begun; sleep 1", "echo begun; exit 3");
    fs::write(&script, twice).unwrap();
    machine.manifest(&json!({"operation": "code_change", "executor": "asks", "maxAttempts": 2}));
    let (code, told, log) = outcome(command.env("JCT_MODEL_KEY_OPENAI_CHAT", KEY).output().unwrap());
    assert_eq!((code, &told["error"]["reason"]), (1, &json!("ModelBudgetExceeded")), "{log}");
    assert!(told["trace_path"].as_str().unwrap().ends_with("/2"), "{told}");
    assert_eq!(ledger(&told)[0]["error.type"], "BUDGET_EXCEEDED");
    assert_eq!(provider.fake.requests().len(), 1);
    machine.check();
}

#[rstest]
#[case::unknown(Some(KEY), true, "unknown", 3, "MODEL_NOT_ALLOWED")]
#[case::no_key(None, true, "chat", 2, "provider openai_chat has no key: set JCT_MODEL_KEY_OPENAI_CHAT")]
#[case::no_configuration(Some(KEY), false, "chat", 2, "--models FILE")]
fn what_is_not_granted_or_not_there_is_told_before_anything_runs(
    #[case] key: Option<&str>,
    #[case] is_configured: bool,
    #[case] alias: &str,
    #[case] code: i32,
    #[case] expected: &str,
) {
    let (machine, provider) = (Machine::new(), Provider::new(Script::default()));
    let models = provider.models(&machine);
    let mut command = asking(&machine, is_configured.then_some(&models), &json!({"aliases": [alias]}));
    if let Some(key) = key {
        command.env("JCT_MODEL_KEY_OPENAI_CHAT", key);
    }
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(expected), "{said}");
    assert!(!machine.path("state/traces/default").exists() && provider.fake.requests().is_empty());
}
