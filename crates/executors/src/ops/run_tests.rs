use serde_json::{Value, json};

use super::super::required_commands;
use super::*;

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["workspace/sub", "artifacts"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/", dir.path().join("workspace/root")).unwrap();
        Self { dir }
    }

    async fn run(&self, list: Value, interrupted: &CancellationToken) -> anyhow::Result<Achieved> {
        let Value::Object(inputs) = json!({ "commands": list }) else { unreachable!() };
        let commands = required_commands(&inputs, "commands").unwrap();
        let place = Place {
            workspace: self.dir.path().join("workspace"),
            artifacts: self.dir.path().join("artifacts"),
            commit: "abc".into(),
            owns_process: false,
        };
        run_in_order(&commands, &place, interrupted).await
    }

    async fn fails(&self, list: Value) -> String {
        self.run(list, &CancellationToken::new()).await.unwrap_err().to_string()
    }

    fn artifact(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join("artifacts").join(name)).unwrap()
    }

    fn states(&self) -> Vec<String> {
        let record: Value = serde_json::from_str(&self.artifact("commands.json")).unwrap();
        let commands = record["commands"].as_array().unwrap();
        commands.iter().map(|command| command["state"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn commands_run_in_order_and_are_recorded() {
    let world = World::new();
    let list = json!([
        {"shell": "echo $JCT_COMMIT; echo token=abcdefgh >&2; echo made > made", "env": {"A": "secret-a"}},
        {"run": ["sh", "-c", "pwd; cat ../made; exit 4"], "workingDir": "sub", "continueOnError": true, "name": "look"},
        ["true"],
    ]);
    let achieved = world.run(list, &CancellationToken::new()).await.unwrap();
    assert!(achieved.summary.starts_with("ran 3 commands") && achieved.summary.ends_with("1 failed, as they may"));
    assert_eq!(achieved.decision_log[1], "look ended with exit code 4; went on, as it may fail");
    assert_eq!(world.states(), ["succeeded", "failed", "succeeded"]);
    let record: Value = serde_json::from_str(&world.artifact("commands.json")).unwrap();
    let first = &record["commands"][0];
    assert_eq!((&first["exit_code"], &first["stdout"]["bytes"]), (&json!(0), &json!(4)));
    assert_eq!(world.artifact(first["stdout"]["path"].as_str().unwrap()), "abc\n");
    assert_eq!(world.artifact(first["stderr"]["path"].as_str().unwrap()), "token=[redacted]\n");
    assert!(!world.artifact("commands.json").contains("secret-a"));
    assert!(world.artifact("commands/02-look.stdout.log").ends_with("/workspace/sub\nmade\n"));
}

#[tokio::test]
async fn the_first_failure_ends_it() {
    let world = World::new();
    let message = world.fails(json!([["true"], {"shell": "echo why >&2; exit 3", "name": "b"}, ["true"]])).await;
    assert_eq!(message, r#"command "b" (inputs.commands[1]) ended with exit code 3: why"#);
    assert_eq!(world.states(), ["succeeded", "failed", "not_run"]);
}

#[tokio::test]
async fn what_can_not_be_started_says_why() {
    let world = World::new();
    let message = world.fails(json!([["no-such-program"]])).await;
    assert!(message.contains(r#"the worker's image has no program "no-such-program""#), "{message}");
    for (dir, why) in [("none", "No such file"), ("root/etc", "leads out of the workspace")] {
        let message = world.fails(json!([{"run": ["true"], "workingDir": dir}])).await;
        assert!(message.contains(why), "{message}");
    }
}

#[tokio::test]
async fn limits_signals_and_interruptions() {
    let world = World::new();
    let message = world.fails(json!([{"shell": "trap '' TERM; sleep 100", "timeoutSeconds": 1}])).await;
    assert!(message.ends_with("was ended after its limit of 1 s"), "{message}");
    assert_eq!(world.states(), ["timed_out"]);
    let message = world.fails(json!([{"shell": "kill -KILL $$"}])).await;
    assert!(message.ends_with("was ended by signal 9 (SIGKILL)"), "{message}");
    let interrupted = CancellationToken::new();
    interrupted.cancel();
    let list = json!([{"run": ["sleep", "100"], "continueOnError": true}, ["true"]]);
    assert!(world.run(list, &interrupted).await.is_err());
    assert_eq!(world.states(), ["interrupted", "not_run"]);
}

#[tokio::test]
async fn what_runs_on_in_the_background_is_ended() {
    let world = World::new();
    let list = json!([{"shell": "sleep 1000 & echo $!"}]);
    world.run(list, &CancellationToken::new()).await.unwrap();
    let id = world.artifact("commands/01-sleep-1000-echo.stdout.log");
    let state = fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

#[tokio::test]
async fn much_output_is_cut_in_the_file() {
    let world = World::new();
    let list = json!([{"shell": "yes | head -c 6000000", "name": "yes"}]);
    world.run(list, &CancellationToken::new()).await.unwrap();
    let log = world.artifact("commands/01-yes.stdout.log");
    assert!(log.len() as u64 <= MAX_OUTPUT_BYTES + 20 && log.ends_with("… truncated\n"));
    assert!(world.artifact("commands.json").contains("\"bytes\": 6000000"));
}
