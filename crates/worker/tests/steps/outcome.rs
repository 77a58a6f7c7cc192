//! What comes of the built-in executors and of an agent: reports, changes, records of commands.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::support::{Pod, Repository, Server, scripted};
use jct_domain::FailureReason;
use jct_domain::executor::{Builtin, Executor};
use jct_domain::task::Operation;
use jct_domain::trace::Outcome;
use rstest::rstest;
use serde_json::json;

#[test]
fn hostile_names_do_not_break_the_report() {
    let repository = Repository::new();
    let names: [&[u8]; 8] = [
        b"-rf",
        b"--output=x",
        b"new\nline.rs",
        b"not-utf8-\xff.rs",
        b"# | `heading` | **bold**.md",
        "txt.\u{202e}sr.exe".as_bytes(),
        b"tab\there",
        b"<script>alert(1)<",
    ];
    for name in names {
        repository.write(OsStr::from_bytes(name), "// TODO: `x` | y\n");
    }
    repository.commit("| **subject** |");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
    let report = pod.report_json();
    assert_eq!(report["totals"]["files"], 8);
    assert_eq!(report["totals"]["unreadable_files"], 0);
    assert_eq!(report["largest_files"].as_array().unwrap().len(), 8);
    let markdown = pod.report();
    assert!(!markdown.contains('\u{202e}') && !markdown.contains("\n# |"), "{markdown}");
    for row in markdown.lines().filter(|line| line.contains("heading")) {
        assert!(row.starts_with("| `") && row.ends_with(" |"), "{row}");
    }
}

#[test]
fn the_report_knows_the_project() {
    let repository = Repository::new();
    repository.write("src/lib.rs", "//! x\n\n// FIXME later\npub fn a() {}\n");
    repository.write("docs/guide.md", "# Guide\n");
    repository.write("README.md", "# Hello\n");
    repository.write("Cargo.toml", "[package]\nname = \"x\"\n\n[dependencies]\nserde = \"1\"\n");
    repository.write("LICENSE", spdx::license_id("Apache-2.0").unwrap().text());
    repository.write(".github/workflows/ci.yml", "on: push\n");
    repository.write("tests/a.rs", "");
    repository.write("logo.png", "\u{89}PNG\0\0");
    repository.write(".mailmap", "Ada Lovelace <ada@example.org>\n");
    repository.commit("first");
    repository.write("src/lib.rs", "pub fn a() {}\n");
    repository.commit("second");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main").with_path("src");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, _) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded);
    let message = termination.message.unwrap();
    assert_eq!(message, "analysed 1 files with 1 lines in 1 languages; 2 commits by 1 people");
    let report = pod.report_json();
    assert_eq!(report["languages"][0]["language"], "Rust");
    assert_eq!(report["licences"][0]["spdx_id"], "Apache-2.0");
    assert_eq!(report["ci"][0]["system"], "GitHub Actions");
    assert_eq!(report["readmes"][0], "README.md");
    assert_eq!(report["dependency_manifests"][0]["direct_dependencies"], 1);
    assert_eq!(report["tests"]["files"], 1);
    assert_eq!(report["history"]["commits"], 2);
    assert_eq!(report["history"]["contributors"][0]["name"], "Ada Lovelace");
    assert_eq!(report["history"]["contributors"][0]["email_domain"], "example.org");
    assert_eq!(report["history"]["most_changed_files"][0]["path"], "src/lib.rs");
    assert!(!pod.report().contains("ada@"));
}

/// A pod whose source is fetched and whose Task is of `operation` with these inputs.
fn fetched(server: &Server, executor: &Executor, operation: Operation, inputs: serde_json::Value) -> Pod {
    let pod = Pod::new(server, "main").with_executor(executor);
    let mut task = pod.task();
    task.operation = operation;
    task.inputs = inputs.as_object().unwrap().clone();
    let pod = pod.with_task(&task);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    pod
}

pub fn greeting() -> Repository {
    let repository = Repository::new();
    repository.write("greet.sh", "#!/bin/sh\necho hello\n");
    repository.commit("first");
    repository
}

const PATCH: &str = "--- a/greet.sh\n+++ b/greet.sh\n@@ -1,2 +1,2 @@\n #!/bin/sh\n-echo hello\n+echo good morning\n";

#[test]
fn a_patch_becomes_a_verified_commit_in_a_bundle() {
    let repository = greeting();
    let server = Server::start(&repository);
    let inputs = json!({"patch": PATCH, "verify": [["sh", "-c", "sh greet.sh | grep morning; touch left-behind"]]});
    let pod = fetched(&server, &Executor::builtin(Builtin::CodeChange), Operation::CodeChange, inputs);
    let (termination, manifest) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?} {}", pod.trace_text());
    pod.verify(&termination, &manifest);
    let change = manifest.change.unwrap();
    assert_eq!((change.files_changed, change.insertions, change.deletions), (1, 1, 1));
    let bundle = pod.trace().join("artifacts/change.bundle");
    repository.git(&["fetch", "--quiet", bundle.to_str().unwrap(), &format!("{}:refs/heads/reviewed", change.git_ref)]);
    assert_eq!(repository.git(&["rev-parse", "reviewed"]).trim(), change.commit);
    assert_eq!(repository.git(&["show", "reviewed:greet.sh"]), "#!/bin/sh\necho good morning\n");
    assert_eq!(repository.git(&["diff", "--name-only", "main", "reviewed"]).trim(), "greet.sh");
    let message = repository.git(&["log", "-1", "--format=%B", "reviewed"]);
    assert!(message.contains("Co-authored-by: ada <ada@human.jct.invalid>"), "{message}");
    assert!(message.contains(&format!("Jct-Trace-Id: {}", manifest.trace_id)), "{message}");
}

#[rstest]
#[case::outside_of_the_path("mkdir -p docs; echo x >elsewhere", "docs", "elsewhere")]
#[case::a_repository_within(
    "mkdir -p docs/sub; cd docs/sub; git init -q .; git commit -q --allow-empty -m x",
    "",
    "sub"
)]
#[case::too_many("for n in 1 2 3; do echo x >file-$n; done", "", "2")]
fn a_change_that_may_not_be_fails_the_task(#[case] script: &str, #[case] path: &str, #[case] reported: &str) {
    let repository = greeting();
    repository.write("docs/guide.md", "# Guide\n");
    repository.commit("second");
    let server = Server::start(&repository);
    let mut executor = scripted(&format!("cd $JCT_WORKSPACE && {script}"));
    executor.outputs.max_changed_files = 2;
    let pod = Pod::new(&server, "main").with_executor(&executor);
    let mut task = pod.task();
    task.operation = Operation::CodeChange;
    task.target.path = path.into();
    let pod = pod.with_task(&task);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::ChangeNotAllowed), "{termination:?} {}", pod.trace_text());
    assert!(termination.message.as_ref().unwrap().contains(reported), "{termination:?}");
    assert!(manifest.change.is_none() && !pod.trace().join("artifacts/change.patch").exists());
}

#[test]
fn commands_are_run_and_recorded() {
    let repository = greeting();
    let server = Server::start(&repository);
    let inputs = json!({"commands": [["sh", "greet.sh"], {"run": ["false"], "name": "check"}, ["sh", "greet.sh"]]});
    let pod = fetched(&server, &Executor::builtin(Builtin::Ops), Operation::Ops, inputs);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::ExecutorFailed), "{termination:?}");
    assert!(termination.message.unwrap().contains("check"));
    assert!(pod.trace().join("artifacts/commands.json").is_file());
    assert!(pod.events().iter().any(|event| event.event == "executor_step"));
    assert!(manifest.change.is_none(), "what commands leave in the workspace is no change");
}

#[test]
fn an_agent_of_several_steps_leaves_them_its_result_and_its_change() {
    let repository = greeting();
    let server = Server::start(&repository);
    let script = r#"echo "::step::Reading $JCT_OBJECTIVE"
        sed -i s/hello/hi/ greet.sh
        echo "::step::Changed greet.sh, token=CanaryCanary"
        git commit -q -a -m "by the agent"
        mkdir -p "$JCT_OUT/notes" && echo why >"$JCT_OUT/notes/why.txt"
        echo '{"summary":"greets shorter","decision_log":["hi is shorter"],"cost":{"usd":0.25,"tokens":1200}}' >"$JCT_RESULT_FILE""#;
    let pod = fetched(&server, &scripted(script), Operation::CodeChange, json!({}));
    let (termination, manifest) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?} {}", pod.trace_text());
    pod.verify(&termination, &manifest);
    assert_eq!(termination.message.as_deref(), Some("greets shorter"));
    let result = manifest.result.unwrap();
    assert_eq!((result.decision_log.len(), result.cost.unwrap().tokens), (1, Some(1200)));
    assert_eq!(manifest.change.unwrap().files_changed, 1);
    assert!(manifest.usage.unwrap().peak_memory_bytes > 0);
    let steps: Vec<_> = pod.events().into_iter().filter(|event| event.event == "executor_step").collect();
    assert_eq!(steps[0].fields["message"], "Reading Find out what is in there");
    assert_eq!(steps[1].fields["message"], "Changed greet.sh, token=[redacted]");
    assert!(pod.trace().join("artifacts/notes/why.txt").is_file());
    assert!(!pod.trace_text().contains("CanaryCanary"));
}

#[test]
fn every_built_in_executor_works_in_its_sandbox() {
    let repository = Repository::new();
    repository.write("README.md", "# Hello\n[gone](gone.md)\n");
    repository.write("Makefile", "test:\n\tgrep -q There README.md\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let patch = "--- a/README.md\n+++ b/README.md\n@@ -1,2 +1 @@\n-# Hello\n-[gone](gone.md)\n+# There\n";
    let cases = [
        (Builtin::Docs, json!({}), "looked at 1 documents; 1 findings: 1 broken_link"),
        (
            Builtin::CodeChange,
            json!({"patch": patch, "verify": [["make", "test"]]}),
            "changed 1 files, verified by 1 command",
        ),
        (
            Builtin::Ops,
            json!({"commands": [{"shell": "setsid sleep 1000 & git log --oneline | wc -l"}]}),
            "ran 1 commands in",
        ),
    ];
    for (builtin, inputs, expected) in cases {
        let pod = fetched(&server, &Executor::builtin(builtin), builtin.operation(), inputs);
        let (termination, manifest) = pod.run();
        pod.verify(&termination, &manifest);
        assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
        assert!(termination.message.as_ref().unwrap().starts_with(expected), "{termination:?}");
        assert!(pod.events().iter().any(|event| event.event == "executor_step"), "{builtin:?}");
    }
}

#[test]
fn a_command_that_overruns_the_budget_is_in_the_record() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let inputs =
        json!({"commands": [{"shell": "trap '' TERM; echo begun; sleep 1000 & wait; sleep 1000", "name": "hang"}]});
    let mut executor = Executor::builtin(Builtin::Ops);
    executor.time.max_seconds = Some(2);
    let pod = fetched(&server, &executor, Operation::Ops, inputs);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::TimeBudgetExceeded));
    let record = fs::read(pod.trace().join("artifacts/commands.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["commands"][0]["state"], "interrupted");
    assert_eq!(fs::read_to_string(pod.trace().join("artifacts/commands/01-hang.stdout.log")).unwrap(), "begun\n");
}
