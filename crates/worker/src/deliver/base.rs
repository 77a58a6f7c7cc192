//! `deliver-base`: the commit that the change is made on, without its history, in a repository of our own.

use std::path::Path;

use jct_domain::delivery::DeliveryReason;
use jct_untrusted::files::remove;
use tokio_util::sync::CancellationToken;

use super::remote::{git, refusal};
use super::{BASE_REF, RemoteArgs, Stop, broken, is_commit_id};
use crate::source::git::Git;

/// How git says that the forge has no such commit.
const NOT_THERE: [&str; 3] = ["not our ref", "couldn't find remote ref", "not a valid object"];
/// How an old forge says that it hands out the tips of branches alone.
const TIPS_ONLY: &str = "unadvertised object";

pub async fn fetch(args: &RemoteArgs, interrupted: CancellationToken) -> Result<(), Stop> {
    let (repository, base) = (&args.step.repository, args.step.base.as_str());
    if !is_commit_id(base) {
        return Err(Stop::new(DeliveryReason::WorkerFailed, format!("{base:?} is no commit")));
    }
    let git = git(args, interrupted)?;
    empty(repository).map_err(broken("make the repository"))?;
    let format = if base.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
    let init = ["init", "--quiet", "--bare", "--template=", "--initial-branch=none", format, "--", "."];
    let (made, _) = git.run(repository, &init).await?;
    if !made.success {
        return Err(Stop::new(DeliveryReason::WorkerFailed, format!("cannot make the repository: {}", made.complaint)));
    }
    match get(args, &git, &["--depth=1"], &format!("+{base}:{BASE_REF}")).await {
        Err(stop) if stop.message.contains(TIPS_ONLY) => {
            get(args, &git, &[], "+refs/heads/*:refs/jct/heads/*").await?;
            let (found, _) = git.run(repository, &["update-ref", BASE_REF, base]).await?;
            if found.success { Ok(()) } else { Err(missing(args)) }
        }
        fetched => fetched,
    }
}

/// Makes an empty folder of it. One that is there stays: it may be where a volume is mounted.
fn empty(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::read_dir(folder)?.try_for_each(|entry| remove(&entry?.path()))
}

async fn get(args: &RemoteArgs, git: &Git, depth: &[&str], spec: &str) -> Result<(), Stop> {
    let mut fetch = vec!["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance"];
    fetch.extend(["--no-write-fetch-head"].iter().chain(depth));
    fetch.extend(["--", args.url.as_str(), spec]);
    let (fetched, _) = git.run(&args.step.repository, &fetch).await?;
    if fetched.success {
        return Ok(());
    }
    if NOT_THERE.iter().any(|words| fetched.complaint.contains(words)) {
        return Err(missing(args));
    }
    Err(refusal(args, "the commit that the change is made on can't be fetched", &fetched.complaint))
}

fn missing(args: &RemoteArgs) -> Stop {
    let message =
        format!("the forge {} no longer has the commit that the change is made on, {}", args.forge, args.step.base);
    Stop::new(DeliveryReason::BaseMissing, message)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_folder_that_a_volume_is_mounted_at_is_emptied_and_stays() {
        let volume = tempfile::tempdir().unwrap();
        let (inode, elsewhere) = (|| volume.path().metadata().unwrap().ino(), tempfile::tempdir().unwrap());
        let before = inode();
        fs::create_dir_all(volume.path().join("objects/pack")).unwrap();
        fs::write(volume.path().join("config"), "[core]").unwrap();
        fs::write(elsewhere.path().join("kept"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), volume.path().join("link")).unwrap();
        empty(volume.path()).unwrap();
        assert_eq!((fs::read_dir(volume.path()).unwrap().count(), inode()), (0, before));
        assert!(elsewhere.path().join("kept").exists());
        empty(&volume.path().join("new/one")).unwrap();
        assert!(volume.path().join("new/one").is_dir());
    }
}
