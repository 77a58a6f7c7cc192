//! `deliver-push`: the checked commit to its branch, which is made, or moved on from where the record knows it; nothing else is touched.

use jct_domain::delivery::{DeliveryReason, branch_problem};
use tokio_util::sync::CancellationToken;

use super::remote::{git, refusal};
use super::{CHANGE_REF, Local, PushArgs, Stop, is_commit_id};
use crate::source::git::Git;

/// Gives whether it was there before.
pub async fn push(args: &PushArgs, interrupted: CancellationToken) -> Result<bool, Stop> {
    let PushArgs { remote, branch, commit, expected, .. } = args;
    let wrong = |message: String| Stop::new(DeliveryReason::WorkerFailed, message);
    if let Some(problem) = branch_problem(branch) {
        return Err(wrong(format!("the branch {branch:?} {problem}")));
    }
    let ids = [Some(commit), expected.as_ref(), Some(&remote.step.base)];
    if let Some(id) = ids.into_iter().flatten().find(|id| !is_commit_id(id)) {
        return Err(wrong(format!("{id:?} is no commit")));
    }
    if expected.as_ref().is_some_and(|expected| *expected != remote.step.base) {
        return Err(wrong("the change is not made on the commit that the branch is at by the record".into()));
    }
    let local = Local::new(&remote.step, false, interrupted.clone());
    let checked =
        local.must(&["rev-parse", "--verify", CHANGE_REF], std::process::Stdio::null(), "nothing was checked").await?;
    if String::from_utf8_lossy(&checked).trim() != commit {
        return Err(Stop::new(DeliveryReason::CheckFailed, "another commit was checked than is to be delivered"));
    }
    let git = git(remote, interrupted)?;
    let found = look(args, &git).await?;
    if is_there(args, found.branch.as_deref())? {
        return Ok(true);
    }
    if let Some(base) = args.base_branch.as_deref().filter(|_| !found.has_base) {
        let message = format!("the forge {} has no branch {base} that the change could go into", remote.forge);
        return Err(Stop::new(DeliveryReason::BaseMissing, message));
    }
    let Err(stop) = send(args, &git).await else { return Ok(false) };
    // It may have arrived, and the answer was lost; or somebody was faster.
    match look(args, &git).await {
        Ok(found) if is_there(args, found.branch.as_deref()) == Ok(true) => Ok(false),
        _ => Err(stop),
    }
}

/// What the forge has.
struct Found {
    /// Where the branch is.
    branch: Option<String>,
    /// Whether the branch is there that the change should go into.
    has_base: bool,
}

async fn look(args: &PushArgs, git: &Git) -> Result<Found, Stop> {
    let name = |branch: &String| format!("refs/heads/{branch}");
    let (branch, base) = (name(&args.branch), args.base_branch.as_ref().map(name));
    let mut list = vec!["ls-remote", "--quiet", "--heads", "--", args.remote.url.as_str(), branch.as_str()];
    list.extend(base.as_deref());
    let (listed, output) = git.run(&args.remote.step.repository, &list).await?;
    if !listed.success {
        return Err(refusal(&args.remote, "the forge can't be asked for its branches", &listed.complaint));
    }
    // A pattern is a name's end: others may end so, too.
    let output = String::from_utf8_lossy(&output);
    let at = |name: &str| {
        let found = output.lines().filter_map(|line| line.split_once('\t')).find(|(_, found)| *found == name);
        found.map(|(commit, _)| commit.to_owned())
    };
    Ok(Found { branch: at(&branch), has_base: base.is_some_and(|base| at(&base).is_some()) })
}

/// Whether it is done already.
fn is_there(args: &PushArgs, found: Option<&str>) -> Result<bool, Stop> {
    let PushArgs { remote, branch, commit, expected, .. } = args;
    let forge = &remote.forge;
    match (found, expected.as_deref()) {
        (Some(found), _) if found == commit => Ok(true),
        (None, None) => Ok(false),
        (Some(found), Some(expected)) if found == expected => Ok(false),
        (Some(found), None) => Err(Stop::new(
            DeliveryReason::BranchExists,
            format!(
                "the forge {forge} has a branch {branch} already, at {found}, that this Task did not make: name another one in delivery.branch"
            ),
        )),
        (Some(found), Some(expected)) => Err(Stop::new(
            DeliveryReason::BranchMoved,
            format!("somebody has pushed to the branch {branch}: it is at {found}, and was left at {expected}"),
        )),
        (None, Some(_)) => Err(Stop::new(DeliveryReason::BranchMissing, format!("the branch {branch} is gone"))),
    }
}

/// Sends it. The lease makes it stricter than a plain push, which would also move a branch that somebody has made meanwhile: it must be
/// where it was expected, or not be there. Nothing is overwritten by it, for the commit's one parent is the expected commit.
async fn send(args: &PushArgs, git: &Git) -> Result<(), Stop> {
    let PushArgs { remote, branch, commit, expected, .. } = args;
    let lease = format!("--force-with-lease=refs/heads/{branch}:{}", expected.as_deref().unwrap_or_default());
    let spec = format!("{commit}:refs/heads/{branch}");
    let push = [
        // The base may be no branch's tip any more, and of its history nothing is here: unasked, git would send all of its tree.
        "-c",
        "push.negotiate=true",
        "push",
        "--porcelain",
        "--no-verify",
        "--no-follow-tags",
        "--no-signed",
        "--recurse-submodules=no",
        &lease,
        "--",
        &remote.url,
        &spec,
    ];
    let (pushed, output) = git.run(&remote.step.repository, &push).await?;
    if pushed.success {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output);
    let told = output.lines().find_map(|line| line.strip_prefix("!\t")?.split('\t').nth(1));
    let forge = &remote.forge;
    match told {
        Some(why) if why.contains("stale info") || why.contains("fetch first") || why.contains("non-fast-forward") => {
            let reason = if expected.is_some() { DeliveryReason::BranchMoved } else { DeliveryReason::BranchExists };
            Err(Stop::new(reason, format!("somebody else has pushed to the branch {branch} meanwhile")))
        }
        Some(why) => Err(Stop::new(
            DeliveryReason::ForgeRefused,
            format!("the forge {forge} does not take the branch {branch}: {why} ({})", pushed.complaint),
        )),
        None => Err(refusal(remote, "the commit can't be pushed", &pushed.complaint)),
    }
}
