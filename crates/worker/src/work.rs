//! The work folder, which the containers of an attempt share: who may write what.
//!
//! | path | made by | executor |
//! |---|---|---|
//! | `in/` | source | reads: the Task |
//! | `repo.git/` | source | reads: the objects and refs as they were fetched |
//! | `source/` | source | writes: the workspace, a checkout with a repository of its own |
//! | `out/` | source | writes: what becomes artifacts |
//! | `home/`, `tmp/`, `result/` | source | writes |
//! | `private/` | source, recorder | – |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jct_domain::executor::READ_ONLY_FOLDERS;
use jct_untrusted::files::remove;

/// The work folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    root: PathBuf,
    tmp: PathBuf,
}

impl Work {
    /// The work folder at `root`, with scratch at `tmp`: by default a folder in it.
    pub fn new(root: &Path, tmp: Option<&Path>) -> Self {
        Self { root: root.into(), tmp: tmp.map_or_else(|| root.join("tmp"), Path::to_path_buf) }
    }

    /// Makes all folders anew, empty.
    ///
    /// # Errors
    /// When one can't be made.
    pub fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let folders = READ_ONLY_FOLDERS.into_iter().chain(["source", "out", "home", "tmp", "result", "private/home"]);
        for name in folders {
            let dir = self.root.join(name);
            // Left by a container that was started twice.
            remove(&dir)?;
            fs::create_dir_all(dir)?;
        }
        Ok(())
    }

    /// Where the work folder is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The Task, for the executor.
    pub fn task_file(&self) -> PathBuf {
        self.root.join("in/task.json")
    }

    /// What `source` tells the recorder.
    pub fn source_file(&self) -> PathBuf {
        self.root.join("private/source.json")
    }

    /// The repository as it was fetched.
    pub fn repository(&self) -> PathBuf {
        self.root.join("repo.git")
    }

    /// The workspace.
    pub fn source(&self) -> PathBuf {
        self.root.join("source")
    }

    /// Where the executor puts what is to become artifacts.
    pub fn out(&self) -> PathBuf {
        self.root.join("out")
    }

    /// The executor's home.
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The executor's scratch.
    pub fn tmp(&self) -> PathBuf {
        self.tmp.clone()
    }

    /// Where the executor says how it ended.
    pub fn result_file(&self) -> PathBuf {
        self.root.join("result/result.json")
    }

    /// What no executor sees.
    pub fn private(&self) -> PathBuf {
        self.root.join("private")
    }

    /// The home of our own git.
    pub fn git_home(&self) -> PathBuf {
        self.root.join("private/home")
    }

    /// Where supervisor and recorder meet.
    pub fn recorder_socket(&self) -> PathBuf {
        self.root.join("private/door")
    }

    /// Where supervisor and relay meet.
    pub fn model_socket(&self) -> PathBuf {
        self.root.join(jct_domain::model::DOOR)
    }

    /// What the relay leaves: the record of what models were asked.
    pub fn model_record(&self) -> PathBuf {
        self.root.join(jct_domain::model::RECORD)
    }

    /// What it leaves besides, where bodies are recorded.
    pub fn model_bodies(&self) -> PathBuf {
        self.root.join(jct_domain::model::BODIES)
    }

    /// What it leaves where that can't be had: why.
    pub fn model_trouble(&self) -> PathBuf {
        self.root.join(jct_domain::model::TROUBLE)
    }

    /// What a container has as a volume: the root, and the scratch if that is one of its own.
    pub fn mounted(&self) -> [PathBuf; 2] {
        [self.root.clone(), self.tmp()]
    }

    /// What the executor may write.
    pub fn writable(&self) -> Vec<PathBuf> {
        vec![self.source(), self.out(), self.home(), self.tmp(), self.root.join("tmp"), self.root.join("result")]
    }

    /// What of it the executor may read besides.
    pub fn readable(&self) -> Vec<PathBuf> {
        vec![self.root.join("in"), self.repository()]
    }
}
