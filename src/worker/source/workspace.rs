//! The workspace's own repository: for the executor, to read history from and to commit to.
//!
//! It has the objects that were fetched by way of alternates, and nothing else in common with the repository that they are
//! in: what an executor does to it says nothing about the change that is taken from the workspace afterwards.

use std::fs;
use std::io;
use std::path::Path;

/// Makes `workspace/.git` at `commit`, detached. `repository` is bare, and has an index that fits the workspace.
///
/// # Errors
/// When it can't be written.
pub fn give_repository(workspace: &Path, repository: &Path, commit: &str) -> io::Result<()> {
    let git = workspace.join(".git");
    for folder in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info"] {
        fs::create_dir_all(git.join(folder))?;
    }
    let (version, format) = if commit.len() == 64 { (1, "[extensions]\n\tobjectFormat = sha256\n") } else { (0, "") };
    // Its files may be given to another user before anybody looks: that alone makes none of them a changed one.
    let core = format!(
        "[core]\n\trepositoryFormatVersion = {version}\n\tbare = false\n\tcheckStat = minimal\n\ttrustctime = false\n"
    );
    fs::write(git.join("config"), core + format)?;
    fs::write(git.join("HEAD"), format!("{commit}\n"))?;
    fs::write(git.join("objects/info/alternates"), format!("{}\n", repository.join("objects").display()))?;
    for file in ["index", "info/attributes", "packed-refs"] {
        match fs::copy(repository.join(file), git.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}
