//! Real agent programs, unmodified, as `examples/executors` says, without network and key, against a scripted model. Not in every
//! run, for they are large: `make test-agents` installs them, and names the folder in `JCT_AGENTS`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jct_fake_model::Script;
use rstest::rstest;
use serde_json::{Value, json};

use crate::machine::{Machine, manifest_in, outcome};
use crate::run_models::{Provider, keys, ledger};

/// What came of a run.
struct Ran {
    code: i32,
    told: Value,
    log: String,
    took: Duration,
}

/// Runs the example of this name; `change` is done to its settings.
fn run(machine: &Machine, provider: &Provider, name: &str, change: impl Fn(&str) -> String) -> Ran {
    let agents =
        std::env::var_os("JCT_AGENTS").expect("JCT_AGENTS names the folder of the agent programs: make test-agents");
    let agents = PathBuf::from(agents);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/executors");
    let settings = fs::read_to_string(examples.join(name).join("executors.yaml")).unwrap();
    let executors = machine.path("executors.yaml");
    fs::write(&executors, change(&settings)).unwrap();
    let fields = json!({"operation": "code_change", "executor": name, "objective": "Write hello.txt"});
    let mut command = machine.command(&fields);
    command.args(["--namespace", "team-a", "--executors"]).arg(executors).arg("--models").arg(provider.models(machine));
    let tell = machine.path("bin");
    fs::create_dir_all(&tell).unwrap();
    fs::copy(examples.join("tell.mjs"), tell.join("tell.mjs")).unwrap();
    let path =
        [agents.join("node_modules/.bin"), agents.join("aider/bin"), tell.clone(), "/usr/bin".into(), "/bin".into()];
    command.env("PATH", std::env::join_paths(path).unwrap()).envs(keys());
    // Of a Python that is not the system's.
    if let Ok(python) = fs::canonicalize(agents.join("aider/bin/python3"))
        && let Some(prefix) = python.ancestors().nth(2).filter(|prefix| !prefix.starts_with("/usr"))
    {
        command.arg("--read").arg(prefix);
    }
    let began = Instant::now();
    let output = command.arg("--read").arg(&agents).arg("--read").arg(&tell).output().unwrap();
    let took = began.elapsed();
    let (code, told, log) = outcome(output);
    Ran { code, told, log, took }
}

fn file(told: &Value, name: &str) -> String {
    let path = PathBuf::from(told["trace_folder"].as_str().unwrap()).join(name);
    String::from_utf8_lossy(&fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))).into_owned()
}

/// What the trace says that it did.
fn show(name: &str, ran: &Ran) {
    println!("\n== {name}: {:.1} s, {}", ran.took.as_secs_f64(), ran.told["status"]);
    for line in file(&ran.told, "events.jsonl").lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if ["executor_step", "executor_ended", "model_used", "attempt_ended"]
            .contains(&event["event"].as_str().unwrap())
        {
            println!("   {line}");
        }
    }
    for exchange in ledger(&ran.told) {
        println!("   {}", exchange);
    }
}

#[rstest]
#[ignore = "needs agent programs"]
fn an_agent_edits_a_file_and_its_ledger_is_sealed(
    #[values("codex", "opencode", "claude-code", "gemini-cli", "aider")] name: &str,
) {
    let (machine, provider) = (Machine::new(), Provider::new(Script::default()));
    let ran = run(&machine, &provider, name, str::to_owned);
    assert_eq!(ran.code, 0, "{}", ran.log);
    show(name, &ran);
    let patch = file(&ran.told, "artifacts/change.patch");
    println!("{patch}");
    assert!(patch.contains("+++ b/hello.txt") && patch.contains("+written by the fake model"), "{patch}");
    assert_eq!(patch.matches("+++ b/").count(), 1, "nothing else is left in the workspace: {patch}");
    let manifest = manifest_in(&ran.told);
    let result = manifest.result.unwrap();
    let exchanges = ledger(&ran.told);
    let usd: f64 = exchanges.iter().map(|exchange| exchange["usd"].as_f64().unwrap()).sum();
    assert!(!exchanges.is_empty() && exchanges.iter().all(|exchange| exchange["usage"] == "reported"), "{exchanges:?}");
    assert!(usd > 0.0 && (result.cost.unwrap().usd.unwrap() - usd).abs() < 1e-9);
    assert!(!result.summary.unwrap_or_default().is_empty(), "the program's last words are the summary");
    assert!(!result.decision_log.is_empty(), "what it did is told");
    assert!(file(&ran.told, "events.jsonl").contains("\"executor_step\""), "{}", ran.log);
    for request in provider.fake.requests() {
        let tools = request.json()["tools"].to_string();
        // Gemini CLI has a tool of its own by a like name, which asks for the other one.
        assert!(!tools.contains("\"type\":\"web_search") && !tools.contains("googleSearch"), "{tools}");
    }
    machine.check();
}

#[rstest]
#[ignore = "needs agent programs"]
fn an_agent_stops_when_its_budget_is_used_up(
    #[values("codex", "opencode", "claude-code", "gemini-cli", "aider")] name: &str,
) {
    let (machine, provider) = (Machine::new(), Provider::new(Script::default()));
    let ran = run(&machine, &provider, name, |settings| settings.replace("maxUsd: 5", "maxUsd: 0.0001"));
    show(name, &ran);
    assert_eq!((ran.code, &ran.told["error"]["reason"]), (1, &json!("ModelBudgetExceeded")), "{}", ran.log);
    assert!(provider.fake.requests().is_empty(), "nothing was sent on");
    assert!(ran.took < Duration::from_secs(45), "{:?}", ran.took);
    machine.check();
}
