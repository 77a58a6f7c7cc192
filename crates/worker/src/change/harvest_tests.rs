//! Harvests by a real git, of trees that an executor could leave.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rstest::rstest;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use jct_domain::task::RequestedBy;
use jct_domain::{ActorKind, FailureReason, Id, TraceId};

const RULES: ChangeRules =
    ChangeRules { max_changed_files: 250, max_patch_bytes: 1 << 20, ignored_files: IgnoredFiles::LeaveOut };
const ALL_FILES: ChangeRules = ChangeRules { ignored_files: IgnoredFiles::Deliver, ..RULES };

/// A pristine repository, a checkout with a `.git` of its own, and folders for what comes of it.
struct World {
    dir: TempDir,
    base: String,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pristine", "out"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mut world = Self { dir, base: String::new() };
        world.git("pristine", &["init", "-q", "-b", "main", "."]);
        for (name, text) in
            [("a.txt", "one\ntwo\nthree\n"), ("src/b.txt", "b\n"), ("run.sh", "#!/bin/sh\n"), ("file", "f\n")]
        {
            world.write_to("pristine", name, text.as_bytes());
        }
        world.write_to("pristine", "crlf.txt", b"a\r\nb\r\n");
        world.write_to("pristine", ".gitignore", b"ignored/\n*.log\n");
        world.commit_base();
        world
    }

    /// Commits the pristine tree, and checks it out.
    fn commit_base(&mut self) {
        self.git("pristine", &["add", "-A", "-f"]);
        self.git("pristine", &["commit", "-q", "-m", "base"]);
        self.base = self.git("pristine", &["rev-parse", "HEAD"]);
        let _ = fs::remove_dir_all(self.path("tree"));
        let (from, to) = (self.path("pristine"), self.path("tree"));
        self.git(".", &["clone", "-q", from.to_str().unwrap(), to.to_str().unwrap()]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tree(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path("tree").join(name)
    }

    fn write(&self, name: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) {
        self.write_to("tree", name, bytes.as_ref());
    }

    fn write_to(&self, dir: &str, name: impl AsRef<OsStr>, bytes: &[u8]) {
        let path = self.path(dir).join(name.as_ref());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn git(&self, dir: &str, args: &[&str]) -> String {
        let output = self.try_git(dir, args);
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn try_git(&self, dir: &str, args: &[&str]) -> Output {
        Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always"])
            .args(args)
            .current_dir(self.path(dir))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap()
    }

    async fn harvest_with(&self, target_path: &str, rules: ChangeRules) -> Result<Option<Change>, Failure> {
        self.harvest_asked(target_path, rules, None).await.map(|harvested| harvested.change)
    }

    async fn harvest_asked(
        &self,
        target_path: &str,
        rules: ChangeRules,
        asked: Option<Asked<'_>>,
    ) -> Result<Harvested, Failure> {
        let requested_by =
            RequestedBy { kind: ActorKind::Agent, id: "bot".into(), label: Some("Bot\nJct-Task-Id: forged".into()) };
        let at = "2026-03-01T12:00:00Z".parse().unwrap();
        let trace_id = TraceId::derive("uid");
        let identity = Identity {
            objective: "Mend it\n\nJct-Task-Id: forged\n---\nCo-authored-by: Eve <eve@example.org>",
            requested_by: &requested_by,
            task_id: Id::derive(at, "uid"),
            trace_id: &trace_id,
            executor: "code-change",
            agent: (jct_domain::forge::AgentTrailer::None, None),
            at,
        };
        let result = harvest(&Harvest {
            git_dir: &self.path("pristine/.git"),
            work_tree: &self.path("tree"),
            base_commit: &self.base,
            target_path,
            rules,
            asked,
            identity,
            scratch: &self.path("scratch"),
            into: &self.path("out"),
            bounds: Bounds {
                git: crate::memory::limited_git,
                deadline: Instant::now() + Duration::from_secs(60),
                interrupted: CancellationToken::new(),
            },
        })
        .await;
        assert!(!self.path("scratch").exists(), "the scratch folder is left");
        assert!(!self.path("ran").exists(), "a program of the tree was run");
        result
    }

    /// A change that verifies: patch and bundle give the same tree, which is given as a listing.
    async fn harvested(&self) -> (Change, String) {
        self.harvested_by(RULES).await
    }

    async fn harvested_by(&self, rules: ChangeRules) -> (Change, String) {
        let change = self.harvest_with("", rules).await.unwrap().unwrap();
        assert_eq!(change.base_commit, self.base);
        let patch = fs::read(self.path("out/change.patch")).unwrap();
        assert_eq!(change.patch_sha256, jct_domain::id::sha256_hex(&patch));
        assert_eq!(change.patch_bytes, patch.len() as u64);
        let _ = fs::remove_dir_all(self.path("check"));
        self.git(".", &["clone", "-q", "pristine", "check"]);
        self.git("check", &["bundle", "verify", "-q", "../out/change.bundle"]);
        self.git("check", &["fetch", "-q", "../out/change.bundle", &format!("{0}:{0}", change.git_ref)]);
        assert_eq!(self.git("check", &["rev-parse", &change.git_ref]), change.commit);
        self.git("check", &["fetch", "-q", "../out/change.bundle"]);
        assert_eq!(self.git("check", &["rev-parse", "FETCH_HEAD"]), change.commit);
        assert_eq!(self.git("check", &["rev-parse", &format!("{}^", change.commit)]), self.base);
        self.git("check", &["apply", "--index", "../out/change.patch"]);
        let tree = self.git("check", &["write-tree"]);
        assert_eq!(tree, self.git("check", &["rev-parse", &format!("{}^{{tree}}", change.commit)]));
        let listing = self.git("check", &["ls-tree", "-r", &tree]);
        (change, listing)
    }

    async fn refused(&self, expected: &str) {
        let failure = self.harvest_with("", RULES).await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::ChangeNotAllowed, "{failure}");
        assert!(failure.message.contains(expected), "{failure}");
        assert_eq!(fs::read_dir(self.path("out")).unwrap().count(), 0);
    }

    /// A script that would leave a mark.
    fn evil(&self) -> String {
        let script = self.path("evil.sh");
        fs::write(&script, format!("#!/bin/sh\ntouch {}\ncat\n", self.path("ran").display())).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        script.display().to_string()
    }

    fn evil_config(&self, git_dir: &Path) {
        let evil = self.evil();
        let config = format!(
            "[core]\n\trepositoryformatversion = 0\n\tfsmonitor = {evil}\n\tsshCommand = {evil}\n\tpager = {evil}\n\
             \thooksPath = {hooks}\n\tattributesFile = {attributes}\n[filter \"evil\"]\n\tclean = {evil}\n\
             \tsmudge = {evil}\n\tprocess = {evil}\n\trequired = true\n[diff \"evil\"]\n\ttextconv = {evil}\n\
             \tcommand = {evil}\n[diff]\n\texternal = {evil}\n[uploadpack]\n\tpackObjectsHook = {evil}\n\
             [alias]\n\tadd = !{evil}\n",
            hooks = self.dir.path().display(),
            attributes = self.path("attributes").display(),
        );
        fs::write(self.path("attributes"), "* filter=evil diff=evil\n").unwrap();
        fs::write(git_dir.join("config"), config).unwrap();
        let hooks = git_dir.join("hooks");
        fs::create_dir_all(&hooks).unwrap();
        for hook in ["post-index-change", "pre-commit", "reference-transaction", "fsmonitor-watchman"] {
            fs::copy(&evil, hooks.join(hook)).unwrap();
            fs::copy(&evil, self.path(hook)).unwrap();
        }
    }

    /// A repository in the tree, with one commit.
    fn nest(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.tree(name)).unwrap();
        let dir = format!("tree/{name}");
        self.git(&dir, &["init", "-q", "."]);
        self.write(format!("{name}/x"), "x");
        self.git(&dir, &["add", "-A"]);
        self.git(&dir, &["commit", "-q", "-m", "nested"]);
        self.tree(name).join(".git")
    }
}

#[tokio::test]
async fn an_untouched_tree_has_no_change() {
    let world = World::new();
    world.write("ignored/x", "x");
    world.write("x.log", "x");
    assert_eq!(world.harvest_with("", RULES).await.unwrap(), None);
    assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 0);
}

#[tokio::test]
async fn new_files_that_gitignore_names_are_delivered_or_counted() {
    let world = World::new();
    world.write("ignored/x", "x\n");
    world.write("x.log", "x\n");
    let left = world.harvest_asked("", RULES, None).await.unwrap();
    assert_eq!((left.change, left.ignored.summary().as_str()), (None, r#""ignored/x", "x.log""#));
    let (change, listing) = world.harvested_by(ALL_FILES).await;
    assert_eq!(change.files_changed, 2);
    assert!(listing.contains("\tignored/x") && listing.contains("\tx.log"), "{listing}");
    for n in 0..300 {
        world.write(format!("ignored/{n}"), "x\n");
    }
    let failure = world.harvest_with("", ALL_FILES).await.unwrap_err();
    assert!(failure.message.starts_with("302 changed files are more than 250; new files that .gitignore"), "{failure}");
    assert!(failure.message.contains("and 297 more (the executor's outputs.ignoredFiles"), "{failure}");
}

const ASKED: &str = "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n\
    diff --git a/x.log b/x.log\nnew file mode 100644\n--- /dev/null\n+++ b/x.log\n@@ -0,0 +1 @@\n+x\n";

#[tokio::test]
async fn what_is_delivered_is_what_was_asked_for_or_nothing() {
    let world = World::new();
    let asked = |none_will_do| Some(Asked { patch: ASKED, strip: 1, none_will_do });
    let refused = async |expected: &str| {
        let failure = world.harvest_asked("", ALL_FILES, asked(false)).await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::ChangeNotAllowed, "{failure}");
        assert!(failure.message.contains(expected), "{failure}");
        assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 0);
    };
    refused(r#"is not what inputs.patch makes of the commit: "a.txt", "x.log" differ"#).await;
    assert!(world.harvest_asked("", ALL_FILES, asked(true)).await.unwrap().change.is_none());
    world.write("a.txt", "one\n2\nthree\n");
    refused(r#"the commit: "x.log" differ"#).await;
    world.write("x.log", "x\n");
    world.write("other.log", "x\n");
    refused(r#"the commit: "other.log" differ"#).await;
    fs::remove_file(world.tree("other.log")).unwrap();
    let change = world.harvest_asked("", ALL_FILES, asked(false)).await.unwrap().change;
    assert_eq!(change.map(|change| change.files_changed), Some(2));
}

#[tokio::test]
async fn a_change_is_a_patch_a_bundle_and_numbers() {
    let world = World::new();
    world.write("a.txt", "one\n2\nthree\nfour\n");
    world.write("binary", [0u8, 1, 2, 255]);
    fs::remove_file(world.tree("src/b.txt")).unwrap();
    fs::set_permissions(world.tree("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/etc/passwd", world.tree("link")).unwrap();
    // Whatever the executor left under our names is replaced, and not written through.
    symlink(world.path("victim"), world.path("out/change.patch")).unwrap();
    let (change, listing) = world.harvested().await;
    assert!(!world.path("victim").exists());
    assert_eq!((change.files_changed, change.insertions, change.deletions), (5, 3, 2));
    assert_eq!(
        change.git_ref,
        "refs/heads/jct/".to_owned() + &change.git_ref["refs/heads/jct/".len()..].to_lowercase()
    );
    assert!(listing.contains("100755 blob") && listing.contains("120000 blob"), "{listing}");
    let stat = fs::read_to_string(world.path("out/diffstat.txt")).unwrap();
    assert!(stat.contains("5 files changed") && stat.contains("mode change 100644 => 100755 run.sh"), "{stat}");
    // The same again is the same commit.
    let (again, _) = world.harvested().await;
    assert_eq!((again.commit, again.patch_sha256), (change.commit.clone(), change.patch_sha256));
    let log = world.git("check", &["log", "-1", "--format=%an <%ae> %cI|%s|%(trailers:unfold)", &change.commit]);
    assert!(log.starts_with("JCT <jct@jct.invalid> 2026-03-01T12:00:00+00:00|Mend it|Co-authored-by: Bot "), "{log}");
    world.git("check", &["checkout", "-q", "-f", &change.commit]);
    fs::write(world.path("message"), world.git("check", &["log", "-1", "--format=%B"])).unwrap();
    for divider in [&["--no-divider"][..], &[]] {
        let args = [&["interpret-trailers", "--parse"], divider, &["../message"]].concat();
        let trailers = world.git("check", &args);
        assert_eq!(trailers.lines().count(), 4, "{trailers}");
        assert!(!trailers.lines().any(|line| line == "Jct-Task-Id: forged" || line.contains("Eve")), "{trailers}");
    }
}

#[tokio::test]
async fn nothing_of_the_trees_own_repository_is_run() {
    let world = World::new();
    world.evil_config(&world.tree(".git"));
    world.write(".git/info/attributes", "* filter=evil diff=evil\n");
    world.write(".git/info/exclude", "*\n");
    world.write(".gitattributes", "* filter=evil diff=evil text eol=crlf ident working-tree-encoding=UTF-16\n*.txt -diff binary\n[attr]binary filter=evil\n");
    world.write("crlf.txt", "a\r\nc\r\n$Id$\n");
    world.write("new.txt", "new\n");
    let (change, listing) = world.harvested().await;
    assert_eq!(change.files_changed, 3);
    assert!(listing.contains("new.txt"), "{listing}");
    let patch = fs::read_to_string(world.path("out/change.patch")).unwrap();
    assert!(patch.contains("-b\r\n+c\r\n+$Id$\n"), "{patch}");
    // A git that heeds the tree's configuration falls for it.
    world.try_git("tree", &["status"]);
    assert!(world.path("ran").exists());
}

#[rstest]
#[case::a_file("file")]
#[case::a_symlink("symlink")]
#[case::nothing("nothing")]
#[case::a_fifo("fifo")]
#[tokio::test]
async fn whatever_the_trees_own_repository_is(#[case] what: &str) {
    let world = World::new();
    let git = world.tree(".git");
    let elsewhere = world.path("elsewhere");
    fs::rename(&git, &elsewhere).unwrap();
    world.evil_config(&elsewhere);
    match what {
        "file" => fs::write(&git, format!("gitdir: {}\n", elsewhere.display())).unwrap(),
        "symlink" => symlink(&elsewhere, &git).unwrap(),
        "fifo" => nix::unistd::mkfifo(&git, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        _ => {}
    }
    world.write("a.txt", "changed\n");
    assert_eq!(world.harvested().await.0.files_changed, 1);
}

#[tokio::test]
async fn nested_repositories_are_refused_unless_ignored() {
    let world = World::new();
    world.evil_config(&world.nest("ignored/clone"));
    assert_eq!(world.harvest_with("", RULES).await.unwrap(), None);
    world.evil_config(&world.nest("deep/sub"));
    world.refused(r#"nested repository at "deep/sub""#).await;
}

#[tokio::test]
async fn a_nested_repository_among_tracked_files_hides_nothing() {
    let world = World::new();
    world.evil_config(&world.nest("src"));
    world.write("src/b.txt", "changed\n");
    let (change, listing) = world.harvested().await;
    assert_eq!(change.files_changed, 2);
    assert!(listing.contains("src/x") && !listing.contains("160000"), "{listing}");
}

#[tokio::test]
async fn a_submodules_pointer_can_not_be_changed() {
    let mut world = World::new();
    let other = world.base.clone();
    world.git("pristine", &["update-index", "--add", "--cacheinfo", &format!("160000,{other},sub")]);
    world.write_to("pristine", ".gitmodules", b"[submodule \"sub\"]\n\tpath = sub\n\turl = ../x\n\tignore = all\n");
    world.git("pristine", &["add", ".gitmodules"]);
    world.git("pristine", &["commit", "-q", "-m", "with a submodule"]);
    world.base = world.git("pristine", &["rev-parse", "HEAD"]);
    fs::remove_dir_all(world.path("tree")).unwrap();
    world.git(".", &["clone", "-q", "pristine", "tree"]);
    assert_eq!(world.harvest_with("", RULES).await.unwrap(), None);
    world.evil_config(&world.nest("sub"));
    world.refused(r#"nested repository at "sub""#).await;
    // A file in the place of .git leads to a repository too.
    fs::rename(world.tree("sub/.git"), world.path("moved")).unwrap();
    fs::write(world.tree("sub/.git"), format!("gitdir: {}\n", world.path("moved").display())).unwrap();
    world.refused(r#"nested repository at "sub""#).await;
}

#[tokio::test]
async fn sockets_and_fifos_are_left_out_unless_they_replace_a_file() {
    let world = World::new();
    nix::unistd::mkfifo(&world.tree("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(world.tree("socket")).unwrap();
    assert_eq!(world.harvest_with("", RULES).await.unwrap(), None);
    fs::remove_file(world.tree("a.txt")).unwrap();
    nix::unistd::mkfifo(&world.tree("a.txt"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    world.refused(r#"neither file nor symlink any more: "a.txt""#).await;
}

#[tokio::test]
async fn symlinks_are_not_followed() {
    let world = World::new();
    fs::remove_dir_all(world.tree("src")).unwrap();
    fs::create_dir(world.path("outside")).unwrap();
    fs::write(world.path("outside/b.txt"), "secret\n").unwrap();
    symlink("../outside", world.tree("src")).unwrap();
    let (change, listing) = world.harvested().await;
    assert_eq!(change.files_changed, 2);
    assert!(listing.contains("120000 blob") && !listing.contains("src/b.txt"), "{listing}");
    assert!(!fs::read_to_string(world.path("out/change.patch")).unwrap().contains("secret"));
}

#[tokio::test]
async fn files_folders_and_cases_trade_places() {
    let world = World::new();
    fs::remove_file(world.tree("file")).unwrap();
    world.write("file/inner", "f\n");
    fs::remove_dir_all(world.tree("src")).unwrap();
    world.write("src", "now a file\n");
    world.write("A.txt", "one\ntwo\nthree\n");
    let (change, listing) = world.harvested().await;
    assert_eq!(change.files_changed, 5, "{listing}");
    assert!(listing.contains("\tA.txt") && listing.contains("\ta.txt"), "{listing}");
}

#[tokio::test]
async fn any_name_is_harvested() {
    let world = World::new();
    for name in [&b"new\nline"[..], b"not-utf8-\xff", b"-rf", b"\"quoted\"\ttab", b":(glob)*", b" blank ", b"a\\b"] {
        world.write(OsStr::from_bytes(name), "x\n");
    }
    assert_eq!(world.harvested().await.0.files_changed, 7);
    world.write(OsStr::from_bytes(b"sub/evil\n\xff"), "x\n");
    let failure = world.harvest_with("src", RULES).await.unwrap_err();
    assert!(failure.message.contains(r#"outside of target.path "src": "#), "{failure}");
    assert!(!failure.message.contains('\n') && failure.message.contains("and 3 more"), "{failure}");
}

#[tokio::test]
async fn names_that_are_gits_are_refused() {
    let world = World::new();
    world.write("src/.GIT/config", "x\n");
    world.refused("the tree can't be recorded: error: ").await;
}

#[tokio::test]
async fn limits_hold() {
    let world = World::new();
    world.write("src/b.txt", "changed\n");
    assert!(world.harvest_with("src", RULES).await.unwrap().is_some());
    let failure = world.harvest_with("src", ChangeRules { max_patch_bytes: 10, ..RULES }).await.unwrap_err();
    assert_eq!(failure, not_allowed("the patch is larger than 10 bytes"));
    for n in 0..300 {
        world.write(format!("many/{n}"), "x\n");
    }
    let failure = world.harvest_with("", RULES).await.unwrap_err();
    assert_eq!(failure, not_allowed("301 changed files are more than 250"));
}

#[tokio::test]
async fn a_huge_file_is_refused_before_it_is_read() {
    let world = World::new();
    let began = Instant::now();
    fs::File::create(world.tree("huge")).unwrap().set_len(1 << 40).unwrap();
    world.refused("changed files of 1099511627776 bytes are more than").await;
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn the_deadline_and_an_interruption_end_it() {
    let world = World::new();
    world.write("a.txt", "changed\n");
    let dir = world.path("other");
    let interrupted = CancellationToken::new();
    let objects = [world.path("pristine/.git/objects")];
    let bounds = |deadline| Bounds { git: crate::memory::limited_git, deadline, interrupted: interrupted.clone() };
    let late = Repository::create(&dir, &objects, &world.base, bounds(Instant::now())).await.unwrap_err();
    assert_eq!(late.reason, FailureReason::WorkerFailed);
    interrupted.cancel();
    let later = Instant::now() + Duration::from_secs(60);
    let reported = Repository::create(&dir, &objects, &world.base, bounds(later)).await.unwrap_err();
    assert_eq!(reported.reason, FailureReason::Evicted);
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_checkout_that_is_a_symlink_is_refused() {
    let world = World::new();
    fs::rename(world.path("tree"), world.path("moved")).unwrap();
    symlink(world.path("moved"), world.path("tree")).unwrap();
    world.refused("the checkout is gone").await;
}
