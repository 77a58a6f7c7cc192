//! The built-in executors as the worker starts them: the real binary, a real checkout.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A checkout with its own `.git`, and the folders that an executor is given.
struct Bench {
    dir: TempDir,
    commit: String,
}

/// What an executor left.
struct Done {
    code: Option<i32>,
    stdout: String,
    report: Value,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["store", "artifacts", "tmp", "home"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mut bench = Self { dir, commit: String::new() };
        for (name, text) in files {
            let path = bench.path("store").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        bench.git("store", &["init", "-q", "-b", "main", "."]);
        bench.git("store", &["add", "-A", "-f"]);
        bench.git("store", &["commit", "-q", "-m", "base"]);
        bench.commit = bench.git("store", &["rev-parse", "HEAD"]);
        // As the worker does it: the objects stay where the executor can't write.
        bench.git(".", &["clone", "-q", "--shared", "--no-checkout", "store", "workspace"]);
        fs::write(bench.path("workspace/.git/info/attributes"), "* -text !eol !filter\n").unwrap();
        bench.git("workspace", &["checkout", "-q", "main"]);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn git(&self, dir: &str, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
            .args(args)
            .current_dir(self.path(dir))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn run(&self, executor: &str, target_path: &str, inputs: Value) -> Done {
        let task = json!({
            "version": "1.0",
            "idempotency_key": null,
            "requested_by": {"kind": "human", "id": "ada", "label": null},
            "objective": "Do what is to be done",
            "operation": "ops",
            "target": {"repo": "octo/repo", "ref": "main", "path": target_path},
            "constraints": {"time_budget_seconds": 300, "allow_network": false, "allow_secrets": false},
            "inputs": inputs,
            "metadata": {},
            "acceptance_criteria": [],
            "evidence_requirements": [],
        });
        fs::write(self.path("task.json"), task.to_string()).unwrap();
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_jct-worker"))
            .args(["worker", "execute", "--executor", executor, "--commit", &self.commit])
            .arg("--task")
            .arg(self.path("task.json"))
            .arg("--source")
            .arg(self.path("workspace"))
            .arg("--artifacts")
            .arg(self.path("artifacts"))
            .arg("--result")
            .arg(self.path("result.json"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        let report: Value = serde_json::from_slice(&fs::read(self.path("result.json")).unwrap()).unwrap();
        let code = match report["reason"].as_str() {
            None => 0,
            Some("ChangeNotAllowed") => 3,
            Some("ExecutorNotConfigured") => 4,
            Some(_) => 1,
        };
        assert_eq!(status.code(), Some(code), "{}", String::from_utf8_lossy(&stderr));
        assert_eq!(fs::read_dir(self.path("tmp")).unwrap().count(), 0, "something is left in the scratch folder");
        Done { code: status.code(), stdout, report }
    }

    fn artifact(&self, name: &str) -> String {
        fs::read_to_string(self.path("artifacts").join(name)).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.artifact(name)).unwrap()
    }

    fn workspace(&self, name: &str) -> String {
        fs::read_to_string(self.path("workspace").join(name)).unwrap()
    }
}

impl Done {
    fn message(&self) -> &str {
        self.report["summary"].as_str().unwrap()
    }
}

fn files_below(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match path.symlink_metadata().unwrap().is_dir() {
                true if path.ends_with(".git") => {}
                true => folders.push(path),
                false => files.push(path.strip_prefix(root).unwrap().display().to_string()),
            }
        }
    }
    files.sort();
    files
}

#[test]
fn ops_runs_what_it_is_told_and_leaves_no_process() {
    let bench = Bench::new(&[("Makefile", "test:\n\t@echo tested\n")]);
    let commands = json!([
        ["make", "test"],
        {"shell": "setsid sleep 1000 & echo $! > $JCT_OUT/escaped; test -n \"$CI\" && pwd", "name": "escape"},
    ]);
    let done = bench.run("ops", "", json!({"commands": commands}));
    assert_eq!(done.code, Some(0), "{}", done.report);
    assert_eq!(done.report["decision_log"].as_array().unwrap().len(), 2);
    assert!(done.stdout.starts_with("::step::Running 1 of 2: make test\ntested\n"), "{}", done.stdout);
    assert_eq!(bench.artifact("commands/01-make-test.stdout.log"), "tested\n");
    let id = bench.artifact("escaped");
    let state = fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

#[test]
fn ops_fails_with_the_name_of_what_failed() {
    let bench = Bench::new(&[("a", "1\n")]);
    let done = bench.run("ops", "", json!({"commands": [{"run": ["sh", "-c", "exit 7"], "name": "lint"}, ["true"]]}));
    assert_eq!(done.message(), "command \"lint\" (inputs.commands[0]) ended with exit code 7");
    assert_eq!(bench.json("commands.json")["commands"][1]["state"], "not_run");
    let done = bench.run("ops", "", json!({"commands": [{"run": "x"}]}));
    assert!(done.message().starts_with("inputs.commands[0].run: must be a list"), "{}", done.report);
    assert_eq!(done.report["reason"], "ExecutorFailed");
}

const PATCH: &str = "diff --git a/src/a.txt b/src/a.txt\n--- a/src/a.txt\n+++ b/src/a.txt\n\
    @@ -1,3 +1,3 @@\n one\n-two\n+2  \n three\n\
    diff --git a/src/new.sh b/src/new.sh\nnew file mode 100755\n--- /dev/null\n+++ b/src/new.sh\n@@ -0,0 +1 @@\n+#!/bin/sh";

fn changed() -> Bench {
    Bench::new(&[
        ("src/a.txt", "one\ntwo\nthree\n"),
        ("b.txt", "b\n"),
        (".gitignore", "target/\n"),
        (".gitattributes", "* text eol=crlf filter=none whitespace=error\n"),
    ])
}

#[test]
fn a_patch_is_applied_verified_and_delivered_as_it_is() {
    let bench = changed();
    let verify = json!([
        {"shell": "grep -q '^2  $' src/a.txt && test -x src/new.sh && git diff --cached --quiet -- b.txt", "name": "there"},
        {"shell": "mkdir -p target/ro && echo x > target/ro/x && chmod 555 target/ro; echo y >> b.txt; rm src/a.txt; \
                   mkdir src/a.txt; touch stranger; ln -s / root; rm -rf .git/hooks; git init -q nested; \
                   echo '* filter=x' > .git/info/attributes; git config filter.x.smudge 'tr a-z A-Z'", "name": "mess"},
    ]);
    let done = bench.run("code-change", "src", json!({"patch": PATCH, "verify": verify}));
    assert_eq!(done.code, Some(0), "{}", done.report);
    assert_eq!(done.message(), "changed 2 files, verified by 2 commands");
    assert_eq!(done.report["decision_log"][0], "inputs.patch applied as it is: 2 files changed");
    assert!(done.stdout.starts_with("::step::Applying the patch\n::step::Running 1 of 2: there\n"), "{}", done.stdout);
    assert_eq!(bench.workspace("src/a.txt"), "one\n2  \nthree\n");
    assert_eq!(bench.workspace("b.txt"), "b\n");
    let files = files_below(&bench.path("workspace"));
    assert_eq!(files, [".gitattributes", ".gitignore", "b.txt", "src/a.txt", "src/new.sh"]);
    assert_eq!(bench.json("commands.json")["commands"][1]["name"], "mess");
}

#[test]
fn a_verification_without_a_repository_left_is_put_back_too() {
    let bench = changed();
    let done = bench.run("code-change", "", json!({"patch": PATCH, "verify": [["rm", "-rf", ".git", "src"]]}));
    assert_eq!(done.code, Some(0), "{}", done.report);
    assert_eq!(bench.workspace("src/a.txt"), "one\n2  \nthree\n");
}

#[test]
fn a_failed_verification_fails_the_task() {
    let bench = changed();
    let verify = json!([{"run": ["false"], "name": "unit tests"}, ["touch", "late"]]);
    let done = bench.run("code-change", "", json!({"patch": PATCH, "verify": verify}));
    assert_eq!(done.message(), "command \"unit tests\" (inputs.verify[0]) ended with exit code 1");
    assert!(!bench.path("workspace/late").exists());
    // What it was about is there as the patch says.
    let verify = json!([{"shell": "echo x >> src/a.txt; touch stranger; false"}]);
    let bench = changed();
    assert_eq!(bench.run("code-change", "", json!({"patch": PATCH, "verify": verify})).code, Some(1));
    assert_eq!(bench.workspace("src/a.txt"), "one\n2  \nthree\n");
    assert!(!bench.path("workspace/stranger").exists());
}

#[test]
fn a_change_without_verification_says_so() {
    let bench = changed();
    let done = bench.run("code-change", "", json!({"patch": PATCH}));
    assert_eq!(done.message(), "changed 2 files, not verified");
    assert_eq!(bench.git("workspace", &["diff", "--cached", "--name-only"]), "src/a.txt\nsrc/new.sh");
}

#[rstest]
#[case(json!({}), "inputs.patch is missing: it must be a unified diff")]
#[case(json!({"patch": PATCH, "verify": "make"}), "inputs.verify: must be a list")]
#[case(json!({"patch": PATCH.replace("-two", "-zwei")}), "inputs.patch does not apply: src/a.txt, hunk 1 (@@ -1,3 +1,3 @@): line 2 of the file is \"two\", in the patch \"zwei\"")]
#[case(json!({"patch": format!("{PATCH}\ndiff --git b.txt b.txt\nold mode 100644\nnew mode 100755\n")}), "inputs.patch names some files with a prefix")]
#[case(json!({"patch": PATCH.replace("a.txt", "none.txt")}), "src/none.txt: does not exist in index")]
#[case(json!({"patch": "nonsense"}), "inputs.patch does not apply: No valid patches in input")]
#[case(json!({"patch": PATCH.replace(" three\n", "")}), "corrupt patch at line 8")]
#[case(json!({"patch": PATCH.replace("src/new.sh", "../new.sh")}), "invalid path '../new.sh'")]
#[case(json!({"patch": PATCH.replace("src/new.sh", ".git/hooks/pre-commit")}), "invalid path '.git/hooks/pre-commit'")]
#[case(json!({"patch": PATCH.replace("src/new.sh", "src/.GIT/config")}), "invalid path 'src/.GIT/config'")]
#[case(json!({"patch": PATCH.replace("src/new.sh", "src/link/new.sh")}), "beyond a symbolic link")]
#[case(json!({"patch": PATCH.replace("src/new.sh", "/tmp/new.sh")}), "new.sh'")]
fn a_patch_that_can_not_be_is_explained(#[case] inputs: Value, #[case] expected: &str) {
    let bench = changed();
    std::os::unix::fs::symlink("/tmp", bench.path("store/src/link")).unwrap();
    bench.git("store", &["add", "-A"]);
    bench.git("store", &["commit", "-q", "-m", "link"]);
    bench.git("workspace", &["pull", "-q"]);
    let bench = Bench { commit: bench.git("store", &["rev-parse", "HEAD"]), ..bench };
    let done = bench.run("code-change", "", inputs);
    assert!(done.message().contains(expected), "{}", done.report);
    assert_eq!(done.report["reason"], "ExecutorFailed");
    assert_eq!(bench.git("workspace", &["status", "--porcelain"]), "");
}

/// Two files of the same lines, and a patch for the one that is further down, as a git with `diff.noprefix` prints it.
#[test]
fn a_patch_without_prefixes_changes_the_file_that_it_names() {
    let text = "[server]\ndebug = on\n";
    let bench = Bench::new(&[("app/x.ini", text), ("examples/app/x.ini", text)]);
    let patch = "diff --git examples/app/x.ini examples/app/x.ini\n--- examples/app/x.ini\n+++ examples/app/x.ini\n\
                 @@ -1,2 +1,2 @@\n [server]\n-debug = on\n+debug = off\n";
    let done = bench.run("code-change", "", json!({"patch": patch}));
    assert_eq!(done.code, Some(0), "{}", done.report);
    assert_eq!(bench.workspace("examples/app/x.ini"), "[server]\ndebug = off\n");
    assert_eq!(bench.workspace("app/x.ini"), text);
}

#[test]
fn line_ends_are_kept_and_named_where_they_differ() {
    let bench = Bench::new(&[("notes.txt", "first\r\nsecond\r\n")]);
    let patch = "diff --git a/notes.txt b/notes.txt\n--- a/notes.txt\n+++ b/notes.txt\n@@ -1,2 +1,2 @@\n first\r\n-second\r\n+2nd\r\n";
    let done = bench.run("code-change", "", json!({"patch": patch.replace('\r', "")}));
    let expected = "notes.txt, hunk 1 (@@ -1,2 +1,2 @@): its lines end with CRLF in the file and with LF in the patch";
    assert!(done.message().contains(expected), "{}", done.report);
    let done = bench.run("code-change", "", json!({"patch": patch}));
    assert_eq!((done.code, bench.workspace("notes.txt").as_str()), (Some(0), "first\r\n2nd\r\n"), "{}", done.report);
}

/// And all that it names.
#[test]
fn a_patch_changes_nothing_that_it_does_not_name() {
    let bench = Bench::new(&[("a.txt", "one\n"), ("b.txt", "one\n")]);
    let patch = "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n\
                 diff --git a/b.txt b/b.txt\n--- a/b.txt\n+++ b/b.txt\n@@ -1 +1 @@\n-one\n+one\n";
    let done = bench.run("code-change", "", json!({"patch": patch}));
    assert_eq!(done.message(), "inputs.patch names \"b.txt\", but changes nothing there");
    assert_eq!(done.report["reason"], "ChangeNotAllowed");
}

#[rstest]
#[case("doc", PATCH, "inputs.patch: outside of target.path \"doc\": \"src/a.txt\", \"src/new.sh\"")]
#[case(
    "",
    "diff --git a/sub b/sub\nnew file mode 160000\n--- /dev/null\n+++ b/sub\n@@ -0,0 +1 @@\n+Subproject commit 1234567890123456789012345678901234567890\n",
    "inputs.patch: nested repository at \"sub\""
)]
#[case(
    "src",
    "diff --git a/b.txt b/src/b.txt\nsimilarity index 100%\nrename from b.txt\nrename to src/b.txt\n",
    "outside of target.path \"src\": \"b.txt\""
)]
fn a_patch_that_may_not_be_is_refused(#[case] path: &str, #[case] patch: &str, #[case] expected: &str) {
    let bench = changed();
    let done = bench.run("code-change", path, json!({"patch": patch}));
    assert!(done.message().contains(expected), "{}", done.report);
    assert_eq!(done.report["reason"], "ChangeNotAllowed");
}

/// Findings as `path:line kind`.
fn findings(bench: &Bench) -> Vec<String> {
    let report = bench.json("report.json");
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|finding| {
            format!("{}:{} {}", finding["path"].as_str().unwrap(), finding["line"], finding["kind"].as_str().unwrap())
        })
        .collect()
}

#[test]
fn docs_tells_what_is_broken() {
    let bench = Bench::new(&[
        (
            "README.md",
            "# Tool\n\n[guide](docs/guide.md#part-two) [code](src/main.rs#L2) [up](../../issues) [web](https://example.org/a)\n\
                       [gone](docs/gone.md) [case](Docs/guide.md) [dir](docs/) [mail](mailto:a@b) [x][nowhere] ![](logo.png)\n\
                       [far](src/main.rs#L3-L9) [esc](docs/with%20blank.md) [top](#top) [self](#tool) [no](#Tool) [e]()\n",
        ),
        (
            "docs/guide.md",
            "# Guide\n\n## Part two\n\n#### Deep\n\n```\n[not](a-link.md)\n```\n<a id=\"hand\"></a> [hand](#hand) [root](/README.md)\n",
        ),
        ("docs/with blank.md", "no title [other](guide.md#part-three)\n"),
        ("docs/alone.md", "# guide\n\nhttps://user:pw@example.org/b\n"),
        ("docs/latin1.md", "\u{0}"),
        ("src/main.rs", "fn main() {\n}\n"),
        ("logo.png", "x"),
        ("tool/x.py", "x"),
        ("vendor/lib/README.md", "[broken](nowhere.md)\n"),
    ]);
    fs::write(bench.path("workspace/docs/latin1.md"), b"\xe9t\xe9").unwrap();
    let done = bench.run("docs", "", json!({}));
    assert_eq!(done.code, Some(0), "{}", done.report);
    let expected = [
        "README.md:3 leaves_repository",
        "README.md:4 broken_link",
        "README.md:4 broken_link",
        "README.md:4 undefined_reference",
        "README.md:4 image_without_text",
        "README.md:5 broken_anchor",
        "README.md:5 line_out_of_range",
        "README.md:5 empty_link",
        "docs/alone.md:null orphaned_document",
        "docs/guide.md:null duplicate_title",
        "docs/guide.md:5 skipped_level",
        "docs/latin1.md:null not_read",
        "docs/with blank.md:null missing_title",
        "docs/with blank.md:1 broken_anchor",
        "tool:null missing_readme",
    ];
    assert_eq!(
        {
            let mut reported = findings(&bench);
            reported.sort();
            reported
        },
        {
            let mut all = expected.map(String::from);
            all.sort();
            all
        }
    );
    let report = bench.json("report.json");
    assert_eq!(report["findings_by_kind"]["broken_link"], 2);
    assert!(report["findings"].to_string().contains("did you mean \\\"docs/guide.md\\\"?"), "{report}");
    assert!(report["findings"].to_string().contains("did you mean #tool?"), "{report}");
    assert_eq!(report["external_links"][1]["url"], "https://example.org/a");
    assert!(!report.to_string().contains("user:pw"));
    assert_eq!(report["outlines"][2]["headings"][1]["anchor"], "part-two");
    let markdown = bench.artifact("report.md");
    assert!(markdown.contains("| `README.md:3` | `leaves_repository` |"), "{markdown}");
    assert!(done.message().starts_with("looked at 4 documents; 15 findings: 2 broken_link"), "{}", done.message());
}

#[test]
fn docs_reads_anchors_and_texts_as_github_does() {
    let bench = Bench::new(&[
        (
            "README.md",
            "\u{feff}# Tool\n\n[a](#-usage) [b](#%EF%B8%8F-settings) [c](#\u{fe0f}-settings) [d](#-logo)\n[gone](#gone)\n\n\
         ## \u{1f680} Usage\n\n## \u{2699}\u{fe0f} Settings\n\n## ![x](x.png) Logo\n",
        ),
        ("x.png", "x"),
    ]);
    bench.run("docs", "", json!({}));
    assert_eq!(findings(&bench), ["README.md:4 broken_anchor"]);
}

#[test]
fn analysis_gives_no_id_to_a_licence_with_a_condition_more() {
    let mit = spdx::license_id("MIT").unwrap().text();
    let more = format!("{mit}\nThe Software shall be used for nothing but good.\n");
    let bench =
        Bench::new(&[("LICENSE", mit), ("LICENSES/MIT.txt", &format!("\u{feff}{mit}")), ("LICENSES/more.txt", &more)]);
    bench.run("analysis", "", json!({}));
    let report = bench.json("report.json");
    let licences = report["licences"].as_array().unwrap().iter();
    let ids: Vec<String> =
        licences.map(|licence| format!("{} {}", licence["path"], licence["spdx_id"]).replace('"', "")).collect();
    assert_eq!(ids, ["LICENSE MIT", "LICENSES/MIT.txt MIT", "LICENSES/more.txt unrecognised"]);
}

#[test]
fn docs_fails_on_findings_if_it_is_told_to() {
    let bench = Bench::new(&[("README.md", "# A\n[b](b.md)\n"), ("sub/c.md", "# C\n"), ("sub/README.md", "# Sub\n")]);
    let done = bench.run("docs", "", json!({"failOnFindings": true}));
    assert_eq!(
        done.message(),
        "looked at 3 documents; 2 findings: 1 broken_link, 1 orphaned_document (inputs.failOnFindings); see report.md"
    );
    assert_eq!((done.code, findings(&bench).len()), (Some(1), 2));
    let ignore = json!({"fail_on_findings": true, "ignore": ["broken_link", "orphaned_document"]});
    assert_eq!(bench.run("docs", "", ignore).code, Some(0));
    // Only what is in the target's path is told, and links from elsewhere count.
    let done = bench.run("docs", "sub", json!({"fail_on_findings": true}));
    assert_eq!((done.code, findings(&bench)), (Some(1), vec!["sub/c.md:null orphaned_document".to_owned()]));
    let done = bench.run("docs", "", json!({"ignore": ["orphans"]}));
    assert!(done.message().starts_with("inputs.ignore[0]: \"orphans\" is no kind of finding"), "{}", done.message());
}

#[test]
fn docs_survives_what_it_reads() {
    let nested = "> - ".repeat(20_000);
    let many = "[a](b.md) ".repeat(20_000);
    let huge = "x".repeat(3 << 20);
    let bench = Bench::new(&[
        ("README.md", "# A\n[b](b.md) [l](loop) [l](loop/x.md#y)\n"),
        ("b.md", "# B\n[a](README.md)\n"),
        ("nested.md", &nested),
        ("many.md", &many),
        ("huge.md", &huge),
        ("new\nline | `x`.md", "# **x** | <b>\n[evil](javascript:alert) [\u{202e}](\u{202e}.md)\n"),
    ]);
    std::os::unix::fs::symlink(".", bench.path("store/loop")).unwrap();
    bench.git("store", &["add", "-A"]);
    bench.git("store", &["commit", "-q", "-m", "loop"]);
    bench.git("workspace", &["pull", "-q"]);
    let bench = Bench { commit: bench.git("store", &["rev-parse", "HEAD"]), ..bench };
    let done = bench.run("docs", "", json!({}));
    assert_eq!(done.code, Some(0), "{}", done.report);
    let reported = findings(&bench);
    assert!(reported.contains(&"huge.md:null not_read".to_owned()), "{reported:?}");
    assert!(!reported.iter().any(|finding| finding.starts_with("README.md")), "{reported:?}");
    let report = bench.json("report.json");
    assert!(report["notes"].to_string().contains("many.md: not all of its links"), "{}", report["notes"]);
    let markdown = bench.artifact("report.md");
    assert!(!markdown.contains('\u{202e}') && markdown.contains("`new%0Aline \\| %60x%60.md"), "{markdown}");
}
