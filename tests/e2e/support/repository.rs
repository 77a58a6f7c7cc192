//! Repositories that the git server of the cluster serves, made with git's plumbing: porcelain refuses what hostile people do.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use nix::libc::O_NONBLOCK;
use nix::sys::stat::Mode;

use super::{NORMAL, setting};

/// One entry of a tree.
pub struct Entry {
    path: Vec<u8>,
    mode: &'static str,
    content: Vec<u8>,
}

impl Entry {
    pub fn file(path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self { path: path.as_ref().into(), mode: "100644", content: content.as_ref().into() }
    }

    pub fn symlink(path: &str, target: &str) -> Self {
        Self { path: path.into(), mode: "120000", content: target.into() }
    }

    pub fn submodule(path: &str, commit: &str) -> Self {
        Self { path: path.into(), mode: "160000", content: commit.into() }
    }
}

/// A bare repository, served as its name.
pub struct Repository {
    pub name: String,
    dir: PathBuf,
}

impl Repository {
    /// An empty repository `owner/name`.
    pub fn new(name: &str) -> Self {
        let dir = repositories().join(format!("{name}.git"));
        fs::create_dir_all(&dir).unwrap();
        let repository = Self { name: name.into(), dir };
        repository.git(&["init", "--quiet", "--bare", "--template=", "--initial-branch=main", "."], b"");
        repository
    }

    /// The repository [`NORMAL`], made once.
    pub fn normal() {
        static MADE: Once = Once::new();
        MADE.call_once(|| {
            if repositories().join(format!("{NORMAL}.git")).exists() {
                // Made by an earlier run on the same cluster.
                return;
            }
            let repository = Self::new(NORMAL);
            repository.commit(
                "main",
                "Begin",
                &[
                    Entry::file("README.md", "# Normal\n\nA repository like others.\n"),
                    Entry::file("LICENSE", "MIT License\n\nPermission is hereby granted, free of charge, …\n"),
                    Entry::file("src/main.rs", "fn main() {\n    // TODO: greet\n    println!(\"hi\");\n}\n"),
                    Entry::file("Cargo.toml", "[package]\nname = \"normal\"\n\n[dependencies]\nserde = \"1\"\n"),
                ],
            );
            repository.git(&["tag", "v1.0.0", "main"], b"");
            let more = [
                Entry::file("tools/run.py", "def run():\n    return 1\n"),
                Entry::file("web/app.js", "export const one = 1;\n"),
                Entry::file("docs/guide.md", "# Guide\n"),
            ];
            repository.commit("main", "Add tools", &more);
            repository.commit("feature/x", "Add a feature", &[Entry::file("feature.txt", "x\n")]);
        });
    }

    /// Adds a commit with `entries` to a branch; its id.
    pub fn commit(&self, branch: &str, message: &str, entries: &[Entry]) -> String {
        let reference = format!("refs/heads/{branch}");
        let mut stream = Vec::new();
        write!(
            stream,
            "commit {reference}\ncommitter Ada <ada@example.org> 1760000000 +0000\ndata {}\n{message}\n",
            message.len()
        )
        .unwrap();
        if self.try_git(&["rev-parse", "--verify", "--quiet", &reference], b"").is_ok() {
            writeln!(stream, "from {reference}^0").unwrap();
        }
        for Entry { path, mode, content } in entries {
            let path = quoted(path);
            if *mode == "160000" {
                writeln!(stream, "M {mode} {} {path}", String::from_utf8_lossy(content)).unwrap();
            } else {
                writeln!(stream, "M {mode} inline {path}\ndata {}", content.len()).unwrap();
                stream.extend(content);
                stream.push(b'\n');
            }
        }
        self.git(&["fast-import", "--quiet", "--force"], &stream);
        self.git(&["rev-parse", &reference], b"").trim().into()
    }

    /// Makes a tree the content of the branch `main`.
    pub fn commit_tree(&self, tree: &str) {
        let commit = self.git(&["commit-tree", "-m", "A tree", tree], b"");
        self.git(&["update-ref", "refs/heads/main", commit.trim()], b"");
    }

    /// Runs git in the repository, which must succeed; its output.
    pub fn git(&self, args: &[&str], stdin: &[u8]) -> String {
        self.try_git(args, stdin).unwrap_or_else(|error| panic!("git {args:?}: {error}"))
    }

    fn try_git(&self, args: &[&str], stdin: &[u8]) -> Result<String, String> {
        let mut child = Command::new("git")
            .args(args)
            .current_dir(&self.dir)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.org")])
            .envs([("GIT_COMMITTER_NAME", "Ada"), ("GIT_COMMITTER_EMAIL", "ada@example.org")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

/// The folder that the git server serves.
fn repositories() -> PathBuf {
    setting("JCT_E2E_REPOSITORIES").into()
}

/// A path as fast-import takes it whatever its bytes are.
fn quoted(path: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b' '..=b'~' if !b"\"\\".contains(byte) => char::from(*byte).to_string(),
        _ => format!("\\{byte:03o}"),
    };
    format!("\"{}\"", path.iter().map(escape).collect::<String>())
}

/// A repository whose server does not answer until it is let go: whoever fetches it runs until then.
///
/// Its HEAD is a FIFO, on which git blocks as it opens it.
pub struct Held {
    repository: Repository,
}

impl Held {
    pub fn new(name: &str) -> Self {
        let repository = Repository::new(name);
        repository.commit("main", "Begin", &[Entry::file("README.md", "# Held\n")]);
        let fifo = repository.dir.join("hold");
        nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        fs::rename(repository.dir.join("HEAD"), repository.dir.join("HEAD.free")).unwrap();
        fs::hard_link(fifo, repository.dir.join("HEAD")).unwrap();
        Self { repository }
    }

    pub fn name(&self) -> &str {
        &self.repository.name
    }

    /// Lets it answer, now and from now on.
    pub fn release(&self) {
        let Ok(()) = fs::rename(self.repository.dir.join("HEAD.free"), self.repository.dir.join("HEAD")) else {
            return;
        };
        let fifo = self.repository.dir.join("hold");
        // Whoever opened the FIFO waits in it, also for a client that is gone; each reads one of these blocks, for that is how
        // much git reads of a HEAD. ENXIO says that nobody waits any more.
        let blocks = format!("{:<254}\n", "ref: refs/heads/main").repeat(32);
        while let Ok(mut pipe) = fs::OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(&fifo) {
            let _ = pipe.write_all(blocks.as_bytes());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}
