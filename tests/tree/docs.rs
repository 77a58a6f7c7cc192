//! Every command of README.md and docs/*.md is tried: here, as it is written, or by the test or script that the table names.
//! A new command needs a line in the table.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

/// Who tries a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// This file: the line by itself. Its exit code.
    Here(i32),
    /// This file: the block that it is in.
    Block,
    /// A test, as `path/file.rs::name`.
    By(&'static str),
    /// A script, which holds this text.
    Script(&'static str, &'static str),
    /// Nobody, for this reason.
    Not(&'static str),
}

use Tried::{Block, By, Here, Not, Script};

/// By how a command begins; the first line that fits counts. `jct` in the operator's pod is written as `jct`.
const COMMANDS: &[(&str, Tried)] = &[
    ("jct run -f task.yaml --repo https://", By("tests/commands/run.rs::a_configured_executor_runs_without_its_image")),
    (
        "jct run -f task.yaml --repo . --executors examples/executors/codex",
        By("tests/commands/agents.rs::an_agent_edits_a_file_and_its_ledger_is_sealed"),
    ),
    ("export OPENAI_API_KEY=", Not("it only gives a key a name; no provider of models is asked by a test")),
    ("jct run ", Here(0)),
    ("cargo run --release -- run ", Here(0)),
    ("jct check -f examples/denied", Here(1)),
    ("jct audit --follow", By("tests/store/reading.rs::following_shows_what_is_written_later")),
    ("jct audit", Here(0)),
    ("jct trace verify ", Here(0)),
    ("jct retention plan", Here(0)),
    ("jct db ", Here(0)),
    ("jct keys ", By("tests/e2e/provenance.rs::keys_are_changed_and_lost_and_what_was_signed_still_verifies")),
    ("jct tasks ", By("tests/e2e/lost_record.rs::what_has_ended_does_not_run_again_once_the_database_is_lost")),
    ("jq -r .objective \"$JCT_TASK_FILE\"", Block),
    ("jq -r '.files[]", Block),
    ("jq -r .payload", Block),
    ("jq -r '.signatures", Block),
    ("jq -r '.keys", Block),
    ("sha256sum manifest.json", Block),
    ("cd TRACES/", Block),
    ("git -c gpg.ssh.allowedSignersFile", By("crates/signing/src/ssh.rs::git_takes_the_signature")),
    ("openssl pkey -in signing.key", Block),
    ("openssl pkeyutl ", Block),
    ("cargo build --release", Not("every build of the images is one: it takes minutes")),
    ("cargo bench ", Not("a part of make bench: it takes minutes, and asserts nothing")),
    ("make demo", Script("scripts/demo.sh", "step \"helm upgrade --install")),
    ("make test", Script("scripts/test.sh", "cargo test")),
    ("make clean", Script("Makefile", "clean:")),
    ("make install", Script("Makefile", "install:")),
    ("kubectl jct console", By("tests/e2e/cli.rs::the_console_opens_signed_in")),
    ("kubectl jct ", By("tests/e2e/cli.rs::a_person_with_a_client_certificate_asks_follows_and_reads")),
    ("make push", Script("Makefile", "push:")),
    ("make cluster-up", Script("tests/e2e.sh", "\"$HERE/up.sh\"")),
    ("make cluster-status", Script("Makefile", "cluster-status:")),
    ("make cluster-down", Script("Makefile", "cluster-down:")),
    ("kubectl get nodes", Script("tests/cluster/up.sh", "nodes")),
    ("kubectl apply -f examples/cwom.yaml", Script("scripts/demo.sh", "apply -f examples/cwom.yaml")),
    ("kubectl get cwom", Script("scripts/demo.sh", "get cwom")),
    ("kubectl --namespace demo get tasks.jct.dev", Script("scripts/demo.sh", "get tasks.jct.dev --output=wide")),
    ("kubectl --namespace demo apply -f examples/denied", Script("scripts/demo.sh", "apply -f examples/%s.yaml")),
    ("kubectl apply -f examples/", By("tests/e2e/happy_path.rs::a_task_is_gated_recorded_run_and_traced")),
    ("kubectl wait ", By("tests/e2e/happy_path.rs::kubectl_shows_tasks")),
    ("kubectl describe task ", By("tests/e2e/happy_path.rs::kubectl_shows_tasks")),
    ("kubectl --namespace jct-system get jobs,pods -l jct.dev/", By("tests/e2e/happy_path.rs::kubectl_shows_tasks")),
    ("helm test ", By("tests/e2e/helm_test.rs::a_helm_test_runs_a_task_to_its_end")),
    (
        "kubectl --namespace jct-system create secret generic hub-read",
        By("tests/e2e/forges.rs::a_private_repository_is_read_by_who_is_granted_it_and_its_token_is_nowhere"),
    ),
    (
        "jct forge check",
        By("tests/e2e/forges.rs::a_private_repository_is_read_by_who_is_granted_it_and_its_token_is_nowhere"),
    ),
    (
        "kubectl --namespace jct-system create secret generic jct-notify",
        By("crates/notify/tests/sender.rs::a_receiver_is_told_once_with_a_signature_and_a_link"),
    ),
    (
        "helm template ",
        By("tests/tree/chart.rs::what_is_done_after_an_uninstall_is_not_done_while_the_operator_is_there"),
    ),
    ("kubectl get tasks", By("tests/e2e/happy_path.rs::kubectl_shows_tasks")),
    ("kubectl get task ", By("tests/e2e/happy_path.rs::kubectl_shows_tasks")),
    ("kubectl create namespace jct-system", Script("tests/e2e.sh", "create namespace")),
    ("kubectl label namespace jct-system", Script("scripts/demo.sh", "label namespace \"$SYSTEM\"")),
    ("helm install ", Script("tests/e2e.sh", "helm")),
    ("helm upgrade ", Script("scripts/demo.sh", "helm upgrade --install jct charts/jct")),
    ("helm uninstall ", By("tests/e2e/uninstall.rs::an_uninstall_leaves_the_data_and_no_finalizer")),
    (
        "kubectl apply --server-side --force-conflicts -f charts/jct/crds",
        Script("scripts/demo.sh", "apply --server-side"),
    ),
    ("kubectl --namespace jct-system delete jobs", Script("scripts/demo.sh", "delete jobs --selector")),
    ("kubectl --namespace jct-system logs deployment/jct", Script("scripts/demo.sh", "logs deployment/jct --tail=30")),
    ("kubectl delete -f charts/jct/crds", Script("scripts/demo.sh", "kubectl delete -f charts/jct/crds")),
    ("kubectl delete namespace", Script("scripts/demo.sh", "kubectl delete namespace")),
    (
        "kubectl --namespace team create serviceaccount",
        By("tests/e2e/rest.rs::tokens_and_rights_are_those_of_the_cluster"),
    ),
    (
        "kubectl --namespace team create rolebinding",
        By("tests/e2e/rest.rs::tokens_and_rights_are_those_of_the_cluster"),
    ),
    ("TOKEN=$(kubectl", By("tests/e2e/rest.rs::tokens_and_rights_are_those_of_the_cluster")),
    (
        "kubectl --namespace jct-system port-forward",
        Not("it goes on until somebody ends it; the tests reach the Service from inside"),
    ),
    ("API=", Not("it only gives an address a name")),
    (
        "curl --silent --request POST $API/tasks/enqueue",
        By("tests/e2e/rest.rs::a_task_that_was_asked_for_is_run_and_told_of"),
    ),
    (
        "curl --silent --header \"Authorization: Bearer $TOKEN\" --request POST $API/tasks/$TASK_ID/cancel",
        By("tests/e2e/rest.rs::who_cancels_is_the_caller"),
    ),
    (
        "curl --silent --header \"Authorization: Bearer $TOKEN\" --request POST $API/tasks/$TASK_ID/budget",
        By("tests/api/budget.rs::a_second_person_with_the_right_raises_it_within_the_grant_once"),
    ),
    (
        "curl --silent --header \"Authorization: Bearer $TOKEN\" $API/tasks/",
        By("tests/e2e/rest.rs::a_task_that_was_asked_for_is_run_and_told_of"),
    ),
    (
        "curl --silent --header \"Authorization: Bearer $TOKEN\" \"$API/tasks?",
        By("tests/api/tasks.rs::filters_narrow_a_listing"),
    ),
    (
        "curl --silent --header \"Authorization: Bearer $TOKEN\" $API/trace/",
        By("tests/api/trace.rs::a_story_is_told_from_its_beginning"),
    ),
    (
        "curl --silent --header \"Authorization: Bearer $TOKEN\" \"$API/audit?",
        By("tests/api/audit.rs::filters_narrow_the_log"),
    ),
    ("curl … \"$API/audit?", By("tests/api/audit.rs::filters_narrow_the_log")),
    (
        "curl --silent --header \"Authorization: Bearer $TOKEN\" \"$API/cwom/",
        By("tests/api/cwom.rs::filters_narrow_a_list"),
    ),
    (
        "curl --silent --header \"Authorization: Bearer $TOKEN\" --request PATCH",
        By("tests/api/cwom.rs::an_issue_is_changed_field_by_field"),
    ),
    ("post()", By("tests/api/cwom.rs::an_object_of_each_kind_is_recorded_and_read")),
    ("REPO=$(post", By("tests/api/cwom.rs::an_object_of_each_kind_is_recorded_and_read")),
    ("post ", By("tests/api/cwom.rs::an_object_of_each_kind_is_recorded_and_read")),
    ("curl --fail --silent \"$API/keys\"", By("tests/e2e/provenance.rs::keys")),
    ("kubectl create clusterrolebinding prometheus-jct", By("tests/e2e/support/world.rs::metrics")),
    (
        "kubectl --namespace jct-system delete configmap jct-audit-checkpoints",
        Not(
            "for after a restore of a backup of the database by itself: which checkpoints count then is tried by tests/store/checkpoints.rs",
        ),
    ),
    (
        "mv TRACES/.checkpoints",
        Not(
            "for after a restore of a backup of the database by itself: which checkpoints count then is tried by tests/store/checkpoints.rs",
        ),
    ),
    (
        "kubectl --namespace jct-system rollout",
        By("tests/e2e/work_objects.rs::a_chain_resolves_whatever_the_order_and_a_restart_writes_nothing"),
    ),
    (
        "kubectl --namespace jct-system set env",
        Not("the way to PostgreSQL is tried by tests/store/maintenance.rs, but not in a pod"),
    ),
    ("export DATABASE_URL=", By("tests/store/postgres.rs::a_server_elsewhere_must_have_a_certificate_for_its_name")),
    (
        "kubectl --namespace jct-system create secret generic jct-database",
        Not("it needs a PostgreSQL server beside the cluster"),
    ),
    ("kubectl --namespace jct-system get lease", By("tests/reconcile/lease.rs::a_lease_that_is_not_there_is_made")),
    ("mkdir /etc/kubernetes/admission", By("tests/e2e/door.rs::a_stranger_at_the_webhook_is_not_answered")),
    ("openssl req ", By("tests/e2e/door.rs::a_stranger_at_the_webhook_is_not_answered")),
    ("openssl x509 ", By("tests/e2e/door.rs::a_stranger_at_the_webhook_is_not_answered")),
    (
        "kubectl delete mutatingwebhookconfiguration",
        Not("what is left after an uninstall that went wrong: to be done by hand"),
    ),
    ("kubectl delete clusterrole", Not("what is left after an uninstall that went wrong: to be done by hand")),
    ("kubectl get \"$kind\"", Not("what is left after an uninstall that went wrong: to be done by hand")),
    (
        "kubectl --namespace \"$namespace\" patch",
        Not("what is left after an uninstall that went wrong: to be done by hand"),
    ),
];

const PROGRAMS: &str = "jct|kubectl|helm|git|make|cargo|curl|jq|openssl|sha256sum|cd|mkdir|mv|cp|docker|psql|sqlite3|export|post|post\\(\\)";

/// A block of commands.
struct Written {
    document: String,
    block: String,
    commands: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All blocks that have commands in them, with continued lines as one, and without what is said of them.
fn written() -> Vec<Written> {
    let is_command = Regex::new(&format!(r"^(({PROGRAMS})( |$)|[A-Z_]+=)")).unwrap();
    let in_pod = Regex::new(r"^kubectl --namespace jct-system exec (--stdin )?deployment/jct -- /jct").unwrap();
    let (comment, continued) = (Regex::new(r"\s+# .*$").unwrap(), Regex::new(r"\\\n\s*").unwrap());
    let mut found = Vec::new();
    let documents = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let documents = documents.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    for path in [root().join("README.md")].into_iter().chain(documents) {
        let text = fs::read_to_string(&path).unwrap();
        let mut parts = text.split("\n```");
        parts.next();
        for fenced in parts.step_by(2) {
            let (language, block) = fenced.split_once('\n').unwrap_or((fenced, ""));
            if !["", "sh", "bash", "console"].contains(&language) {
                continue;
            }
            let block = continued.replace_all(block, "").into_owned();
            let is_shown = block.lines().any(|line| line.starts_with("$ "));
            let lines = block.lines().filter(|line| !is_shown || line.starts_with("$ "));
            let lines = lines.map(|line| comment.replace(line.trim_start_matches("$ ").trim(), "").into_owned());
            let commands = lines.filter(|line| is_command.is_match(line));
            let commands: Vec<String> = commands.map(|line| in_pod.replace(&line, "jct").into_owned()).collect();
            if !commands.is_empty() {
                found.push(Written {
                    document: path.strip_prefix(root()).unwrap().display().to_string(),
                    block,
                    commands,
                });
            }
        }
    }
    found
}

fn tried(command: &str) -> Option<Tried> {
    COMMANDS.iter().find(|(beginning, _)| command.starts_with(beginning)).map(|(_, tried)| *tried)
}

#[test]
fn every_command_of_the_documents_is_tried_or_says_why_not() {
    let written = written();
    let all: Vec<(&str, &String)> = written
        .iter()
        .flat_map(|block| block.commands.iter().map(|command| (block.document.as_str(), command)))
        .collect();
    assert!(all.len() > 80, "{} commands were found: are the documents read as they are written?", all.len());
    let new: Vec<_> = all.iter().filter(|(_, command)| tried(command).is_none()).collect();
    assert!(new.is_empty(), "who tries these? Say so in COMMANDS of tests/tree/docs.rs: {new:#?}");
}

#[test]
fn what_tries_a_command_is_there() {
    for (command, tried) in COMMANDS {
        match tried {
            By(test) => {
                let (file, name) = test.split_once("::").unwrap();
                let text = fs::read_to_string(root().join(file)).unwrap_or_else(|_| panic!("{command}: no {file}"));
                assert!(text.contains(&format!("fn {name}")), "{command}: {file} has no {name}");
            }
            Script(file, text) => {
                let script = fs::read_to_string(root().join(file)).unwrap_or_else(|_| panic!("{command}: no {file}"));
                assert!(script.contains(text), "{command}: {file} does not say {text:?}");
            }
            Not(why) => assert!(why.len() > 20, "{command}: {why}"),
            Here(_) | Block => {}
        }
    }
}

/// A machine after a first run, as the documents take it to be.
struct Machine {
    dir: TempDir,
    outcome: Value,
}

impl Machine {
    fn new() -> Self {
        let mut machine = Self { dir: tempfile::tempdir().unwrap(), outcome: Value::Null };
        for folder in ["home", "bin", "work", "hello"] {
            fs::create_dir(machine.path(folder)).unwrap();
        }
        symlink(env!("CARGO_BIN_EXE_jct"), machine.path("bin/jct")).unwrap();
        symlink(root().join("examples"), machine.path("work/examples")).unwrap();
        for repository in ["work", "hello"] {
            fs::write(machine.path(repository).join("README.md"), "# Hello\n").unwrap();
            let script = "git init -q -b main . && git add README.md && git -c user.name=Ada -c user.email=a@b commit -q -m Begin";
            machine.succeeds(repository, script, 0);
        }
        let task = fs::read_to_string(root().join("examples/analysis-jct.yaml")).unwrap();
        fs::write(machine.path("work/task.yaml"), task.replace("jct/jct", "octo/hello")).unwrap();
        machine.write_program("work/my-agent.sh", "echo done >\"$JCT_OUT/report.md\"");
        fs::write(
            machine.path("work/rules.yaml"),
            "traces: [{ outcome: completed, maxAge: 90d }]\nrecords: [{ outcome: completed, maxAge: 365d }]\n",
        )
        .unwrap();
        let output = machine.succeeds("work", "jct run -f task.yaml --repo ../hello -o json", 0);
        machine.outcome = serde_json::from_slice(&output.stdout).unwrap();
        let state = machine.path("home/.local/state/jct");
        for file in ["keys.json", "signing.key"] {
            fs::copy(state.join(file), machine.path("work").join(file)).unwrap();
        }
        fs::copy(machine.trace().join("provenance.dsse.json"), machine.path("work/provenance.dsse.json")).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_program(&self, name: &str, script: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn trace(&self) -> PathBuf {
        PathBuf::from(self.outcome["trace_folder"].as_str().unwrap())
    }

    /// With what is here in the place of what the documents name.
    fn filled_in(&self, text: &str) -> String {
        let trace = self.trace().display().to_string();
        let traces = self.path("home/.local/state/jct/traces").display().to_string();
        let text = Regex::new(r"TRACES/[a-z]+/[0-9A-Z]{26}/1").unwrap().replace_all(text, trace.as_str()).into_owned();
        let text = Regex::new(r"\b[0-9a-f]{32}\b|TRACE-ID")
            .unwrap()
            .replace_all(&text, self.outcome["trace_id"].as_str().unwrap());
        text.replace("TRACES", &traces)
            .replace("TASK-ID", self.outcome["id"].as_str().unwrap())
            .replace("cargo run --release -- run", "jct run")
    }

    fn run(&self, folder: &str, script: &str) -> Output {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]).current_dir(self.path(folder)).env_clear();
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        // What an operator's pod has in its environment. What is imported goes into a database of its own.
        let database = if script.contains(" import ") { "other.db" } else { "home/.local/state/jct/record.db" };
        let url = format!("sqlite://{}", self.path(database).display());
        command.env("PATH", path).env("HOME", self.path("home")).env("DATABASE_URL", url);
        command.env("GIT_CONFIG_NOSYSTEM", "1").output().unwrap()
    }

    fn succeeds(&self, folder: &str, script: &str, code: i32) -> Output {
        let output = self.run(folder, script);
        assert_eq!(output.status.code(), Some(code), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

#[test]
fn commands_of_the_program_do_what_the_documents_say() {
    let machine = Machine::new();
    let mut seen = 0;
    for Written { document, commands, .. } in written() {
        for command in commands {
            if let Some(Here(code)) = tried(&command) {
                println!("{document}: {command}");
                machine.succeeds("work", &machine.filled_in(&command), code);
                seen += 1;
            }
        }
    }
    assert!(seen > 15, "{seen} commands were tried");
    // The control: one that is wrong is found.
    assert_ne!(machine.run("work", "jct audit --no-such-option").status.code(), Some(0));
}

#[test]
fn blocks_with_other_tools_do_what_the_documents_say() {
    let machine = Machine::new();
    // In the example of an executor, which runs where its files are those of a Task.
    let agent = "my_agent() { case $1 in --explain) echo explained ;; *) test -d \"$JCT_WORKSPACE\" ;; esac; }\n";
    let mut seen = 0;
    for Written { document, block, commands } in written() {
        if !commands.iter().any(|command| tried(command) == Some(Block)) {
            continue;
        }
        println!("{document}: {block}");
        seen += 1;
        if block.starts_with("#!") {
            machine.write_program("work/agent.sh", &format!("{agent}{}", block.replace("my-agent", "my_agent")));
            let output = machine.succeeds("work", "jct run -f task.yaml --repo ../hello -o json -- ./agent.sh", 0);
            let reported: Value = serde_json::from_slice(&output.stdout).unwrap();
            let report = PathBuf::from(reported["trace_folder"].as_str().unwrap()).join("artifacts/report.md");
            assert_eq!(fs::read_to_string(report).unwrap(), "explained\n");
            continue;
        }
        machine.succeeds("work", &machine.filled_in(&block), 0);
    }
    assert!(seen >= 4, "{seen} blocks were tried");
    // The control: another file than that which was signed is found.
    fs::write(machine.path("work/signed"), "another").unwrap();
    let verify = "openssl pkeyutl -verify -rawin -in signed -sigfile signature -pubin -keyform DER -inkey key.der";
    assert_ne!(machine.run("work", verify).status.code(), Some(0));
}
