//! Where the repository is: what can be said of it before anything is recorded.

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::domain::url;

/// The URL of `repo`, which may be a folder.
///
/// # Errors
/// Names `--repo` and what to do.
pub fn url(repo: &str) -> anyhow::Result<String> {
    if !has_git() {
        bail!("git is not on the PATH; the repository is fetched with it");
    }
    let Some((scheme, _)) = repo.split_once("://") else { return folder(Path::new(repo)) };
    // The executor may read /proc.
    if let Some(credentials) = url::credentials(repo)
        && std::env::args_os().any(|argument| argument.to_string_lossy().contains(&format!("{credentials}@")))
    {
        bail!("--repo: every process of this machine sees the password on the command line: give the URL in JCT_REPO");
    }
    if !url::SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()) {
        let known = url::SCHEMES.join(", ");
        bail!("--repo: a URL must begin with one of {known}; else clone it yourself, and give the folder");
    }
    Ok(repo.into())
}

fn folder(repo: &Path) -> anyhow::Result<String> {
    let shown = repo.display();
    let path = std::fs::canonicalize(repo).with_context(|| format!("--repo {shown}: no such folder, and no URL"))?;
    if !path.join(".git").exists() && !path.join("HEAD").is_file() {
        bail!("--repo {shown}: this folder is no git repository");
    }
    if path.join(".git/shallow").exists() || path.join("shallow").exists() {
        bail!("--repo {shown}: nothing can be fetched from a shallow clone; complete it: git fetch --unshallow");
    }
    Ok(url::of_folder(&path))
}

fn has_git() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("git").is_file())
}
