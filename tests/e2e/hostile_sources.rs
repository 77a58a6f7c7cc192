//! Repositories that want to harm: they end with a reason that has a name, or with a valid report.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Entry, NORMAL, Repository, Task, Trace, World, condition, reason, task, task_on};

async fn fails(world: &World, name: &str, change: Value, wanted: &str) -> Task {
    world.create(task(name, change)).await;
    let task = world.wait_for(name, "Failed").await;
    assert_eq!(reason(&task), wanted, "{:?}", task.status);
    assert_eq!(condition(&task, "TraceCaptured").0, "True");
    let trace = Trace::of(world, &task).await;
    trace.check(&task).unwrap();
    assert_eq!(trace.json("manifest.json")["reason"], wanted);
    task
}

#[rstest]
#[case::branch("feature/x", "feature.txt")]
#[case::full_name("refs/heads/feature/x", "feature.txt")]
#[case::tag("v1.0.0", "README.md")]
#[tokio::test]
async fn a_ref_is_a_branch_or_tag(#[case] git_ref: &str, #[case] file: &str) {
    let world = World::shared("refs").await;
    world.create(task("ref", json!({"target": {"ref": git_ref, "path": file}}))).await;
    let task = world.wait_for("ref", "Completed").await;
    assert!(Trace::of(&world, &task).await.text("artifacts/report.md").contains(file));
}

#[tokio::test]
async fn a_ref_that_is_not_there_is_not_found() {
    let world = World::shared("refs").await;
    fails(&world, "branch", json!({"target": {"ref": "no-such-branch"}}), "RefNotFound").await;
    fails(&world, "commit", json!({"target": {"ref": "0123456789abcdef0123456789abcdef01234567"}}), "RefNotFound")
        .await;
}

#[rstest]
#[case::absent("no/such/folder")]
#[case::symlink_out_of_the_repository("outside")]
#[case::through_that_symlink("outside/passwd")]
#[case::absolute_symlink("absolute")]
#[case::gits_own_folder(".git/config")]
#[tokio::test]
async fn a_path_leads_to_what_the_repository_has(#[case] path: &str) {
    let world = World::shared("paths").await;
    let repository = Repository::new(&format!("demo/{}", world.namespace));
    let entries = [
        Entry::file("README.md", "# Links\n"),
        Entry::symlink("outside", "../../../etc"),
        Entry::symlink("absolute", "/proc/self/environ"),
    ];
    repository.commit("main", "Add links", &entries);
    fails(&world, "path", json!({"target": {"repo": repository.name, "path": path}}), "PathNotFound").await;
}

#[tokio::test]
async fn links_out_of_the_repository_are_not_followed() {
    let world = World::shared("links").await;
    let repository = Repository::new("demo/links");
    let entries = [
        Entry::file("README.md", "# Links\n"),
        Entry::symlink("LICENSE", "/etc/passwd"),
        Entry::symlink("package.json", "/proc/self/environ"),
        Entry::symlink("src/loop", "../src"),
        Entry::symlink("self", "self"),
    ];
    repository.commit("main", "Add links", &entries);
    world.create(task_on("links", &repository.name)).await;
    let task = world.wait_for("links", "Completed").await;
    let trace = Trace::of(&world, &task).await;
    trace.check(&task).unwrap();
    for file in ["artifacts/report.md", "artifacts/report.json", "stdout.log", "stderr.log"] {
        let text = trace.text(file);
        assert!(!text.contains("root:x:0") && !text.contains("JCT_TRACE_DIR"), "{file} holds what a link leads to");
    }
}

#[tokio::test]
async fn a_bomb_of_trees_is_too_large() {
    let world = World::shared("bomb").await;
    let repository = Repository::new("demo/bomb");
    let mut entry = format!("100644 blob {}", repository.git(&["hash-object", "-w", "--stdin"], b"boom\n").trim());
    // Ten in ten in ten…: 10^9 files in ten objects.
    for _ in 0..9 {
        let listing: String = (0..10).map(|n| format!("{entry}\td{n}\n")).collect();
        entry = format!("040000 tree {}", repository.git(&["mktree"], listing.as_bytes()).trim());
    }
    repository.commit_tree(entry.rsplit(' ').next().unwrap());
    let task = fails(&world, "bomb", json!({"target": {"repo": repository.name}}), "SourceTooLarge").await;
    assert!(task.status.unwrap().message.unwrap().contains("20000 files"));
}

#[tokio::test]
async fn a_tree_that_would_unpack_to_gigabytes_is_too_large() {
    let world = World::shared("huge").await;
    let repository = Repository::new("demo/huge");
    let blob = repository.git(&["hash-object", "-w", "--stdin"], &vec![0; 20 << 20]);
    let listing: String = (0..110).map(|n| format!("100644 blob {}\tbig-{n}\n", blob.trim())).collect();
    repository.commit_tree(repository.git(&["mktree"], listing.as_bytes()).trim());
    fails(&world, "huge", json!({"target": {"repo": repository.name}}), "SourceTooLarge").await;
}

#[tokio::test]
async fn a_submodule_of_itself_is_not_fetched() {
    let world = World::shared("submodule").await;
    let repository = Repository::new("demo/submodule");
    let first = repository.commit("main", "Begin", &[Entry::file("README.md", "# Loop\n")]);
    let modules =
        "[submodule \"self\"]\n\tpath = self\n\turl = ./\n[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c id\n";
    let entries =
        [Entry::file(".gitmodules", modules), Entry::submodule("self", &first), Entry::submodule("x", &first)];
    repository.commit("main", "Loop", &entries);
    world.create(task_on("loop", &repository.name)).await;
    let task = world.wait_for("loop", "Completed").await;
    let trace = Trace::of(&world, &task).await;
    trace.check(&task).unwrap();
    assert!(trace.text("artifacts/report.json").contains("submodule"));
}

#[tokio::test]
async fn odd_file_names_make_a_valid_trace_and_a_readable_report() {
    let world = World::shared("odd").await;
    let repository = Repository::new("demo/odd");
    let names: [&[u8]; 12] = [
        b"new\nline.rs",
        b"latin-\xe9.py",
        b"-rf",
        b"--upload-pack=x",
        b"pipe|and`tick`.md",
        b"<img src=x onerror=alert(1)>.md",
        b"tab\there.js",
        b"\x1b[31mred.txt",
        b"space ",
        b"\xf0\x9f\x92\xa5.go",
        b"quote\"back\\slash.c",
        b"sub/[link](javascript:alert(1)).md",
    ];
    let code = "fn a() {}\n// TODO: | <b>x</b> `y` [z](http://example.org)\n".repeat(40);
    let entries: Vec<Entry> = names.iter().map(|name| Entry::file(name, &code)).collect();
    repository.commit("main", "| <script>alert(1)</script>\u{202e}", &entries);
    world.create(task_on("odd", &repository.name)).await;
    let task = world.wait_for("odd", "Completed").await;
    let trace = Trace::of(&world, &task).await;
    trace.check(&task).unwrap();
    let report = trace.json("artifacts/report.json");
    assert_eq!(report["totals"]["files"], names.len());
    let page = trace.text("artifacts/report.md");
    assert!(!page.contains(['\x1b', '\u{202e}', '\t']), "{page}");
    // Within `…` a Markdown renderer shows text as it is; the odd parts are outside.
    for line in page.lines() {
        let rendered: String = line.split('`').step_by(2).collect();
        for harm in ["<script", "<img", "<b>", "](", "http://example.org"] {
            assert!(!rendered.contains(harm), "{harm} is live in: {line}");
        }
    }
}

#[tokio::test]
async fn an_empty_repository_has_no_ref() {
    let world = World::shared("empty").await;
    let repository = Repository::new("demo/empty");
    fails(&world, "empty", json!({"target": {"repo": repository.name}}), "RefNotFound").await;
    assert_ne!(repository.name, NORMAL);
}
