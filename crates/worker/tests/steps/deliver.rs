//! A sealed change to a branch of a forge: its three steps, a private repository, and whatever may have happened to either.

mod faults;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jct_domain::delivery::{DeliveryEnding, DeliveryReason};
use jct_domain::id::sha256_hex;
use jct_domain::trace::{Manifest, Outcome};
use tempfile::TempDir;

use crate::forge::{Private, TOKEN, everything, found, secret};
use crate::support::{Pod, Repository, Server};

const BRANCH: &str = "jct/mend-01arz3nd";
const SIGNATURE: &str = "gpgsig -----BEGIN SSH SIGNATURE-----\n U1NIU0lH\n -----END SSH SIGNATURE-----\n";

/// A forge with a repository, and an attempt that has changed it.
struct Sealed {
    repository: Repository,
    forge: Private,
    pod: Pod,
    manifest: Manifest,
}

impl Sealed {
    fn new() -> Self {
        Self::of(&[])
    }

    /// Of a repository that has these files, too.
    fn of(files: &[(&str, &str)]) -> Self {
        let repository = Repository::new();
        files.iter().for_each(|(name, text)| repository.write(name, text));
        repository.write("a", "1\n");
        repository.commit("first");
        repository.write("b", "2\n");
        repository.commit("second");
        repository.git(&["config", "http.receivepack", "true"]);
        let server = Server::start(&repository);
        let pod = Pod::new(&server, "main").with_script("echo more >> a; mkdir d; echo new > d/c");
        let mut task = pod.task();
        task.operation = jct_domain::task::Operation::CodeChange;
        let pod = pod.with_task(&task);
        assert_eq!(pod.source().outcome, Outcome::Succeeded);
        let (termination, manifest) = pod.run();
        assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
        let forge = Private::of(&repository);
        Self { repository, forge, pod, manifest }
    }

    fn commit(&self) -> String {
        self.manifest.change.as_ref().unwrap().commit.clone()
    }

    fn base(&self) -> String {
        self.manifest.change.as_ref().unwrap().base_commit.clone()
    }

    /// Where the branch is on the forge.
    fn branch(&self) -> Option<String> {
        let refs = self.repository.git(&["for-each-ref", "--format=%(objectname)", &format!("refs/heads/{BRANCH}")]);
        Some(refs.trim().to_owned()).filter(|commit| !commit.is_empty())
    }

    /// The commit's bytes.
    fn content(&self, delivery: &Delivery, commit: &str) -> String {
        crate::support::run_git(&delivery.folder("repository"), &["cat-file", "commit", commit], b"")
    }
}

/// A Job of one delivery: its volumes and arguments.
struct Delivery<'a> {
    sealed: &'a Sealed,
    volumes: TempDir,
    url: String,
    token: &'static str,
    signed: Option<String>,
    commit: String,
    expected: Option<String>,
    path: std::ffi::OsString,
    /// Arguments with other values than they should have, or besides.
    others: Vec<(&'static str, String)>,
    /// Whether the shared repository can't be written to.
    reads_only: bool,
}

impl<'a> Delivery<'a> {
    fn of(sealed: &'a Sealed) -> Self {
        let volumes = tempfile::tempdir().unwrap();
        let (url, commit) = (sealed.forge.url(), sealed.commit());
        Self {
            sealed,
            volumes,
            url,
            token: TOKEN,
            signed: None,
            commit,
            expected: None,
            path: std::env::var_os("PATH").unwrap(),
            others: Vec::new(),
            reads_only: false,
        }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.volumes.path().join(name)
    }

    fn run(&self, step: &str) -> DeliveryEnding {
        let secret = secret(&[("username", "bot"), ("token", self.token)]);
        let path = |name: &str| self.folder(name).display().to_string();
        let manifest = fs::read(self.sealed.pod.trace().join("manifest.json")).unwrap();
        let base = self.sealed.base();
        let mut args = vec![
            ("repository", path("repository")),
            ("scratch", path(step)),
            ("base", base),
            ("termination-log", path("termination")),
        ];
        if step == "deliver-check" {
            args.push(("trace-dir", self.sealed.pod.trace().display().to_string()));
            args.push(("manifest-sha256", sha256_hex(&manifest)));
            args.push(("commit", self.sealed.commit()));
            args.extend(self.signed.clone().map(|signed| ("signed-commit", STANDARD.encode(signed))));
        } else {
            let of_forge =
                [("url", self.url.as_str()), ("forge", "own"), ("repo", "octo/repo"), ("protocols", "https,http")];
            args.extend(of_forge.map(|(name, value)| (name, value.to_owned())));
            args.push(("credential", secret.path().display().to_string()));
        }
        if step == "deliver-push" {
            args.push(("branch", BRANCH.into()));
            args.push(("commit", self.commit.clone()));
            args.extend(self.expected.clone().map(|expected| ("expected", expected)));
        }
        args.retain(|(name, _)| !self.others.iter().any(|(other, _)| name == other));
        args.extend(self.others.iter().cloned());
        let output = faults::worker(self.reads_only.then(|| self.folder("repository")).as_deref())
            .args(["worker", step])
            .args(args.iter().map(|(name, value)| format!("--{name}={value}")))
            .env_clear()
            .env("PATH", &self.path)
            .output()
            .unwrap();
        assert!(found(&[output.stdout, output.stderr.clone()].concat()).is_empty());
        let message = fs::read(self.folder("termination"))
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        assert!(message.len() <= 4096);
        let ending: DeliveryEnding = serde_json::from_slice(&message).unwrap();
        assert_eq!(output.status.success(), ending.reason.is_none(), "{ending:?}");
        ending
    }

    fn succeeds(&self, steps: &[&str]) -> DeliveryEnding {
        let endings: Vec<DeliveryEnding> = steps.iter().map(|step| self.run(step)).collect();
        assert!(endings.iter().all(|ending| ending.reason.is_none()), "{endings:?}");
        endings.last().unwrap().clone()
    }

    fn fails(&self, step: &str, reason: DeliveryReason, words: &str) {
        let ending = self.run(step);
        assert_eq!(ending.reason, Some(reason), "{ending:?}");
        assert!(ending.message.as_ref().unwrap().contains(words), "{ending:?}");
    }
}

const CHECKED: [&str; 2] = ["deliver-base", "deliver-check"];
const ALL: [&str; 3] = ["deliver-base", "deliver-check", "deliver-push"];

#[test]
fn what_is_delivered_is_what_was_sealed_once_and_the_token_is_nowhere() {
    let sealed = Sealed::new();
    let delivery = Delivery::of(&sealed);
    let ending = delivery.succeeds(&ALL);
    assert_eq!((ending.commit, ending.was_there), (Some(sealed.commit()), false));
    assert_eq!(sealed.branch(), Some(sealed.commit()));
    let log = sealed.repository.git(&["log", "--format=%P", "-1", BRANCH]);
    assert_eq!(log.trim(), sealed.base());
    assert_eq!(sealed.repository.git(&["show", &format!("{BRANCH}:d/c")]), "new\n");
    sealed.repository.git(&["fsck", "--strict"]);
    let before = sealed.repository.git(&["for-each-ref"]);
    let again = Delivery::of(&sealed).succeeds(&ALL);
    assert_eq!((again.commit, again.was_there), (Some(sealed.commit()), true));
    assert_eq!(sealed.repository.git(&["for-each-ref"]), before);
    assert_eq!(found(&everything(delivery.volumes.path())), Vec::<&str>::new());
    let seen = sealed.forge.seen.lock().unwrap().clone();
    assert!(String::from_utf8_lossy(&seen).contains("send-pack"), "git was not seen");
    assert_eq!(found(&seen), Vec::<&str>::new());
}

#[test]
fn a_signature_may_be_added_and_nothing_else() {
    let sealed = Sealed::new();
    let mut delivery = Delivery::of(&sealed);
    delivery.succeeds(&CHECKED);
    let content = sealed.content(&delivery, &sealed.commit());
    assert_eq!(fs::read_to_string(sealed.pod.trace().join("artifacts/change.commit")).unwrap(), content);
    delivery.signed = Some(content.replacen("\n\n", &format!("\n{SIGNATURE}\n"), 1));
    let signed = delivery.succeeds(&CHECKED).commit.unwrap();
    assert_ne!(signed, sealed.commit());
    delivery.fails("deliver-push", DeliveryReason::CheckFailed, "another commit was checked");
    delivery.commit = signed.clone();
    delivery.succeeds(&["deliver-push"]);
    assert_eq!(sealed.branch(), Some(signed.clone()));
    let show =
        |commit: &str| sealed.repository.git(&["show", "--no-patch", "--format=%T %P %an %ad %cn %cd %B", commit]);
    let sealed_show = crate::support::run_git(
        &delivery.folder("repository"),
        &["show", "--no-patch", "--format=%T %P %an %ad %cn %cd %B", &sealed.commit()],
        b"",
    );
    assert_eq!(show(&signed), sealed_show);
    delivery.signed =
        Some(content.replacen("\n\n", &format!("\n{SIGNATURE}\n"), 1) + "Co-authored-by: Eve <eve@example.org>\n");
    delivery.succeeds(&["deliver-base"]);
    delivery.fails("deliver-check", DeliveryReason::CheckFailed, "not the sealed one with a signature");
}

/// Git is somebody who tries to write elsewhere and to reach somebody: in the step that opens what a stranger made it can't.
#[test]
fn what_opens_the_bundle_has_no_network_and_writes_nowhere_else() {
    let sealed = Sealed::new();
    let mut delivery = Delivery::of(&sealed);
    let (bin, elsewhere) = (delivery.folder("bin"), tempfile::tempdir().unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, marks) = (listener.local_addr().unwrap().port(), elsewhere.path().display().to_string());
    let which = Command::new("sh").args(["-c", "command -v git"]).output().unwrap().stdout;
    let git = String::from_utf8(which).unwrap();
    fs::create_dir(&bin).unwrap();
    let script = format!(
        "#!/bin/bash\n(echo > {marks}/$$) 2>/dev/null\n(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null\nexec {} \"$@\"\n",
        git.trim()
    );
    fs::write(bin.join("git"), script).unwrap();
    Command::new("chmod").args(["+x", bin.join("git").to_str().unwrap()]).status().unwrap();
    delivery.path = format!("{}:{}", bin.display(), delivery.path.to_str().unwrap()).into();
    listener.set_nonblocking(true).unwrap();
    let tried = |step: &str| {
        delivery.succeeds(&[step]);
        let written = fs::read_dir(elsewhere.path()).unwrap().count();
        fs::read_dir(elsewhere.path()).unwrap().for_each(|file| fs::remove_file(file.unwrap().path()).unwrap());
        let reached = std::iter::from_fn(|| listener.accept().ok()).count();
        (written > 0, reached > 0)
    };
    // The control: the others can.
    assert_eq!(tried("deliver-base"), (true, true));
    assert_eq!(tried("deliver-check"), (false, false));
    assert_eq!(tried("deliver-push"), (true, true));
}

#[test]
fn a_branch_that_is_somebody_elses_stays_as_it_is() {
    let sealed = Sealed::new();
    let first = sealed.repository.git(&["rev-parse", "main~1"]).trim().to_owned();
    let delivery = Delivery::of(&sealed);
    delivery.succeeds(&CHECKED);
    for commit in [first.clone(), sealed.base()] {
        sealed.repository.git(&["update-ref", &format!("refs/heads/{BRANCH}"), &commit]);
        delivery.fails("deliver-push", DeliveryReason::BranchExists, "already");
        assert_eq!(sealed.branch(), Some(commit));
    }
    // Made between the look and the push: a plain push would move it on.
    sealed.repository.git(&["update-ref", "-d", &format!("refs/heads/{BRANCH}")]);
    sealed.forge.before_push(&sealed.repository, &["update-ref", &format!("refs/heads/{BRANCH}"), &sealed.base()]);
    delivery.fails("deliver-push", DeliveryReason::BranchExists, "meanwhile");
    assert_eq!(sealed.branch(), Some(sealed.base()));
}

#[test]
fn a_follow_up_moves_the_branch_on_from_the_record_or_not_at_all() {
    let sealed = Sealed::new();
    let mut delivery = Delivery::of(&sealed);
    delivery.expected = Some(sealed.base());
    delivery.succeeds(&CHECKED);
    delivery.fails("deliver-push", DeliveryReason::BranchMissing, "is gone");
    sealed.repository.write("c", "a person's\n");
    let persons = sealed.repository.commit("by a person");
    sealed.repository.git(&["update-ref", &format!("refs/heads/{BRANCH}"), &persons]);
    delivery.fails("deliver-push", DeliveryReason::BranchMoved, "somebody has pushed");
    assert_eq!(sealed.branch(), Some(persons));
    sealed.repository.git(&["update-ref", &format!("refs/heads/{BRANCH}"), &sealed.base()]);
    delivery.succeeds(&["deliver-push"]);
    assert_eq!(sealed.branch(), Some(sealed.commit()));
}

#[test]
fn what_was_altered_since_is_not_delivered() {
    let sealed = Sealed::new();
    let delivery = Delivery::of(&sealed);
    delivery.succeeds(&["deliver-base"]);
    let bundle = sealed.pod.trace().join("artifacts/change.bundle");
    let good = fs::read(&bundle).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    for altered in [bad, [&good[..], b"x"].concat(), good[..good.len() - 1].to_vec()] {
        fs::remove_file(&bundle).unwrap();
        fs::write(&bundle, altered).unwrap();
        delivery.fails("deliver-check", DeliveryReason::CheckFailed, "not the one that was sealed");
    }
    fs::remove_file(&bundle).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &bundle).unwrap();
    delivery.fails("deliver-check", DeliveryReason::CheckFailed, "can't be read");
    delivery.fails("deliver-push", DeliveryReason::CheckFailed, "nothing was checked");
    // The control.
    fs::remove_file(&bundle).unwrap();
    fs::write(&bundle, good).unwrap();
    delivery.succeeds(&["deliver-check", "deliver-push"]);
}

#[test]
fn a_forge_that_does_not_do_it_is_told_by_its_reason() {
    let sealed = Sealed::new();
    let mut delivery = Delivery::of(&sealed);
    delivery.succeeds(&CHECKED);
    delivery.token = "ran-out";
    delivery.fails("deliver-push", DeliveryReason::ForgeRefused, "does not take its credential");
    delivery.token = TOKEN;
    delivery.url = "http://127.0.0.1:1/octo/repo.git".into();
    delivery.fails("deliver-push", DeliveryReason::ForgeUnavailable, "can't be asked");
    delivery.url = sealed.forge.url();
    let hook = sealed.repository.path().join(".git/hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho not on Fridays >&2\nexit 1\n").unwrap();
    Command::new("chmod").args(["+x", hook.to_str().unwrap()]).status().unwrap();
    delivery.fails("deliver-push", DeliveryReason::ForgeRefused, "not on Fridays");
    assert_eq!(sealed.branch(), None);
    fs::remove_file(hook).unwrap();
    delivery.succeeds(&["deliver-push"]);
}

#[test]
fn a_base_that_the_forge_no_longer_has_is_told() {
    let sealed = Sealed::new();
    let delivery = Delivery::of(&sealed);
    // Rewritten, and its objects gone.
    sealed.repository.git(&["reset", "-q", "--hard", "main~1"]);
    sealed.repository.git(&["reflog", "expire", "--expire=now", "--all"]);
    sealed.repository.git(&["gc", "--quiet", "--prune=now"]);
    delivery.fails("deliver-base", DeliveryReason::BaseMissing, &sealed.base());
}
