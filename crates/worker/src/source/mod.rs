//! `jct worker source`: from a URL and a ref to a checkout that nobody else's configuration had a part in.
//!
//! List the remote's refs, fetch the one with its history, count its tree, then check it out. What the repository holds
//! is hostile: see [`jct_untrusted::git`] for what git may not do.

pub mod credential;
pub mod git;
mod refs;
pub mod refused;
mod tree;
mod workspace;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::git::{Git, unavailable};
use self::refs::{Advertised, Wanted};
use self::refused::Forge;
use self::tree::{Limits, Tree};
use super::SourceArgs;
use super::attempt::Attempt;
use super::work::Work;
use jct_domain::trace::Source;
use jct_domain::url::{SCHEMES, credentials, without_credentials};
use jct_untrusted::Failure;
use jct_untrusted::files::{create_anew, remove};
use jct_untrusted::git::listing::Names;
use jct_untrusted::lfs::Pointers;

/// Where the fetched ref is in the new repository.
const TARGET_REF: &str = "refs/jct/target";
/// Takes precedence over the repository's own `.gitattributes`: files are checked out byte by byte.
const ATTRIBUTES: &str = "* -text !eol !ident !filter !working-tree-encoding\n";

/// Of a repository with more tags none is fetched: each costs a file for a moment.
const MAX_TAGS: u64 = 20_000;

/// What was fetched.
#[derive(Debug)]
pub struct Fetched {
    pub source: Source,
    /// Files, symlinks and submodules in the tree.
    pub files: u64,
    /// Size of the files, in bytes.
    pub bytes: u64,
    /// Submodules, which are not fetched.
    pub submodules: Names,
    /// Symlinks, which are not followed.
    pub symlinks: u64,
    /// Tags that lead to a commit of the history, as in a clone.
    pub tags: u64,
    /// Tags that were not fetched, for there are too many.
    pub tags_left_out: u64,
    /// Pointers to files of Git LFS, which are not fetched.
    pub lfs_pointers: Names,
}

impl Fetched {
    /// What a clone would have and this checkout has not; none if there is nothing.
    pub fn lacks(&self) -> Option<String> {
        let mut lacks = Vec::new();
        if !self.submodules.is_empty() {
            lacks.push(format!("submodules are empty folders: {}", self.submodules.summary()));
        }
        if !self.lfs_pointers.is_empty() {
            lacks.push(format!("files of Git LFS are pointers, not contents: {}", self.lfs_pointers.summary()));
        }
        if self.tags_left_out > 0 {
            let (tags, most) = (self.tags_left_out, MAX_TAGS);
            lacks.push(format!("no tags: the repository has {tags}, and more than {most} are not fetched"));
        }
        if lacks.is_empty() { None } else { Some(lacks.join("; ")) }
    }
}

/// Fetches what the Task names, and checks it out.
///
/// # Errors
/// A [`Failure`] with the reason for the manifest.
pub async fn fetch(args: &SourceArgs, attempt: &Attempt, interrupted: CancellationToken) -> Result<Fetched, Failure> {
    let target = &attempt.task.target;
    let protocol = protocol(&args.url, &args.protocols)?;
    let mut tree = Tree::new(Limits { max_files: args.max_files, max_bytes: args.max_bytes }, &target.path)?;
    let work = attempt.work();
    prepare(attempt, &work, args.tools_dir.as_deref())
        .map_err(|error| Failure::worker("prepare the work folder", &error))?;
    let repository = work.repository();
    let left = credentials(&args.url).map(|_| leave_credentials(&work.git_home(), &args.url)).transpose();
    let left = left.map_err(|error| Failure::worker("prepare git", &error))?;
    let access = access(&args.url, args.credential.as_deref(), args.authorities.as_deref(), &work.git_home())?;
    let has_login = access.credentials.is_some();
    let git = Git {
        home: work.git_home(),
        protocol,
        deadline: Instant::now() + Duration::from_secs(args.timeout_seconds.into()),
        interrupted,
        credentials: access.credentials,
        helper: access.helper,
        authorities: access.authorities,
        max_pack_bytes: args.max_bytes,
    };
    let url = without_credentials(&args.url);
    let forge = args.forge.as_deref().map(|name| Forge { name, repo: target.repo.as_str(), has_login });
    let fetched = Remote { git: &git, url: &url, git_ref: &target.git_ref, forge }.fetch(&repository).await;
    if let Some(path) = left {
        remove(&path).map_err(|error| Failure::worker("take the credentials away", &error))?;
    }
    let (commit, tags_left_out) = fetched?;

    let listing = ["ls-tree", "-r", "-z", "--long", "--full-tree", "--end-of-options", &commit];
    let listed = git.stream(&repository, &listing, |chunk| tree.push(chunk)).await?;
    if !listed.success {
        return Err(listed.failure("the tree can't be read"));
    }
    tree.finish()?;
    let workspace = work.source();
    let tree_option = format!("--work-tree={}", workspace.display());
    let checkout =
        [tree_option.as_str(), "checkout", "--quiet", "--force", "--detach", "--no-recurse-submodules", &commit];
    let (checked_out, _) = git.run(&repository, &checkout).await?;
    if !checked_out.success {
        return Err(checked_out.failure("the tree can't be checked out"));
    }
    let mut pointers = Pointers::default();
    if tree.may_have_pointers {
        let listed = git.stream(&repository, &listing, |chunk| pointers.push(&workspace, chunk)).await?;
        if !listed.success {
            return Err(listed.failure("the tree can't be read"));
        }
    }
    let (packed, _) = git.run(&repository, &["pack-refs"]).await?;
    if !packed.success {
        return Err(Failure::worker("pack the tags", &packed.complaint));
    }
    let tags = workspace::give_repository(&workspace, &repository, &commit)
        .map_err(|error| Failure::worker("make the workspace's own repository", &error))?;
    let source = Source { url, git_ref: target.git_ref.clone(), commit };
    let Tree { files, bytes, submodules, symlinks, .. } = tree;
    Ok(Fetched { source, files, bytes, submodules, symlinks, tags, tags_left_out, lfs_pointers: pointers.found })
}

/// How git gets at the repository.
#[derive(Default)]
pub struct Access {
    pub credentials: Option<String>,
    pub helper: Option<String>,
    pub authorities: Option<PathBuf>,
}

/// By what stands in the URL, by a mounted Secret, or by nothing.
pub fn access(url: &str, credential: Option<&Path>, authorities: Option<&str>, home: &Path) -> Result<Access, Failure> {
    let broken = |what: &'static str| move |error: std::io::Error| Failure::worker(what, &error);
    let mut access = Access::default();
    if let Some(pem) = authorities {
        let file = home.join("authorities.pem");
        fs::write(&file, pem).map_err(broken("prepare git"))?;
        access.authorities = Some(file);
    }
    if let Some(found) = credentials(url) {
        access.credentials = Some(found.to_owned());
        access.helper = Some("store".into());
        return Ok(access);
    }
    let Some(folder) = credential else { return Ok(access) };
    if let Some(login) = credential::read(folder)? {
        let program = std::env::current_exe().map_err(broken("find its own program"))?;
        access.credentials = Some(format!("{}:{}", login.username, login.token));
        access.helper = Some(credential::helper(&program, folder, url));
    }
    Ok(access)
}

/// A ref of a repository elsewhere.
struct Remote<'a> {
    git: &'a Git,
    url: &'a str,
    git_ref: &'a str,
    /// Which forge it is on, if one is configured.
    forge: Option<Forge<'a>>,
}

impl Remote<'_> {
    /// Fetches the ref with all its history, and the tags that lead to a commit of that, into a new repository at `into`; gives
    /// the commit, and how many tags were left out.
    async fn fetch(&self, into: &Path) -> Result<(String, u64), Failure> {
        let mut candidates = refs::candidates(self.git_ref)?;
        candidates.push("HEAD".into());
        let mut list = vec!["ls-remote", "--quiet", "--symref", "--", self.url];
        list.extend(candidates.iter().map(String::as_str).chain(["refs/tags/*"]));
        let mut advertised = Advertised::of(&candidates);
        let listed = self.git.stream(into, &list, |chunk| advertised.push(chunk)).await?;
        let Advertised { lines: advertised, tags, .. } = advertised;
        if !listed.success {
            let refused = self.forge.as_ref().and_then(|forge| forge.refuses(&listed.complaint));
            return Err(refused.unwrap_or_else(|| listed.failure("the repository can't be reached")));
        }
        let wanted = refs::choose(self.git_ref, &advertised)?;
        let id_length = refs::id_length(&advertised);
        let format = if id_length == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        let init = ["init", "--quiet", "--bare", "--template=", "--initial-branch=jct", format, "--", "."];
        let (made, _) = self.git.run(into, &init).await?;
        if !made.success {
            return Err(Failure::worker("make a repository", &made.complaint));
        }
        write_attributes(into).map_err(|error| Failure::worker("prepare the repository", &error))?;
        let with_tags = tags <= MAX_TAGS;
        match &wanted {
            Wanted::Ref(name) => self.fetch_specs(into, with_tags, &[&format!("+{name}:{TARGET_REF}")]).await?,
            Wanted::Commit(id) => self.fetch_commit(into, with_tags, id).await?,
        }
        Ok((self.resolve(into).await?, if with_tags { 0 } else { tags }))
    }

    /// By way of every branch and tag, never by its id alone: hosts serve the commits of every fork by id, and a fork is
    /// not the repository that the gate let through.
    async fn fetch_commit(&self, into: &Path, with_tags: bool, id: &str) -> Result<(), Failure> {
        self.fetch_specs(into, with_tags, &["+refs/heads/*:refs/jct/heads/*", "+refs/tags/*:refs/jct/tags/*"]).await?;
        let (found, _) = self.git.run(into, &["update-ref", "--no-deref", TARGET_REF, id]).await?;
        if found.success { Ok(()) } else { Err(refs::not_found(self.git_ref, "no branch or tag leads to this commit")) }
    }

    async fn fetch_specs(&self, into: &Path, with_tags: bool, specs: &[&str]) -> Result<(), Failure> {
        let mut fetch = vec![
            "fetch",
            "--quiet",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
            "--no-write-fetch-head",
            "--no-show-forced-updates",
            "--",
            self.url,
        ];
        if !with_tags {
            fetch.insert(1, "--no-tags");
        }
        fetch.extend(specs);
        let (fetched, _) = self.git.run(into, &fetch).await?;
        // Git leaves the ref out and calls that a success.
        let is_shallow = fetched.complaint.contains("shallow roots are not allowed");
        if fetched.success && !is_shallow { Ok(()) } else { Err(fetched.failure("fetching failed")) }
    }

    /// The commit that was fetched, tags peeled.
    async fn resolve(&self, into: &Path) -> Result<String, Failure> {
        let peeled = format!("{TARGET_REF}^{{commit}}");
        let (resolved, id) =
            self.git.run(into, &["rev-parse", "--verify", "--quiet", "--end-of-options", &peeled]).await?;
        let id = String::from_utf8_lossy(&id).trim().to_owned();
        if resolved.success && refs::is_commit_id(&id) {
            return Ok(id);
        }
        Err(refs::not_found(self.git_ref, "it is not a commit"))
    }
}

/// The scheme of `url`, if it is allowed.
pub fn protocol(url: &str, allowed: &[String]) -> Result<&'static str, Failure> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    let known = SCHEMES.into_iter().find(|known| *known == scheme);
    match known.filter(|known| allowed.iter().any(|name| name.trim() == *known)) {
        Some(known) if !url.chars().any(|c| c.is_control() || c == ' ') => Ok(known),
        _ => Err(unavailable(format!(
            "the repository's URL must begin with one of {} and hold no blanks",
            allowed.join(", ")
        ))),
    }
}

/// Empty folders, each with what it needs from us.
fn prepare(attempt: &Attempt, work: &Work, tools: Option<&Path>) -> std::io::Result<()> {
    work.prepare()?;
    fs::write(work.task_file(), &attempt.task_json)?;
    // The folder of the checkout, or a repository on a mounted volume, may belong to another user: git refuses to work
    // with such a one unless told so. What git fears there, its configuration, is nobody's but ours.
    const TRUST: &str = "[safe]\n\tdirectory = *\n";
    fs::write(work.git_home().join("gitconfig"), TRUST)?;
    fs::write(work.home().join("gitconfig"), TRUST)?;
    fs::write(work.home().join(".gitconfig"), format!("{TRUST}[user]\n\tname = JCT\n\temail = jct@jct.invalid\n"))?;
    let Some(tools) = tools else { return Ok(()) };
    let (new, program) = (tools.join(".jct.new"), tools.join("jct"));
    remove(&new)?;
    fs::copy(std::env::current_exe()?, &new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o555))?;
    fs::rename(new, program)
}

fn write_attributes(repository: &Path) -> std::io::Result<()> {
    let info = repository.join("info");
    fs::create_dir_all(&info)?;
    std::io::Write::write_all(&mut create_anew(&info.join("attributes"))?, ATTRIBUTES.as_bytes())
}

/// Where git's own helper looks for what a host asks for: nobody finds it on a command line, and no other host gets it.
fn leave_credentials(home: &Path, url: &str) -> std::io::Result<PathBuf> {
    let path = home.join(".git-credentials");
    let host = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let mut file = create_anew(&path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    std::io::Write::write_all(&mut file, format!("{host}\n").as_bytes())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("ext::sh -c id")]
    #[case("ext://x")]
    #[case("file:///etc")]
    #[case("ssh://host/x")]
    #[case("-uhttps://x")]
    #[case("/srv/repo")]
    #[case("https://host/a\nb")]
    #[case("")]
    fn other_protocols_are_refused(#[case] url: &str) {
        let allowed = ["https".to_owned(), "git".to_owned(), "ext".to_owned(), "ssh".to_owned()];
        assert!(protocol(url, &allowed).is_err());
    }

    #[test]
    fn allowed_protocols_are_taken() {
        assert_eq!(protocol("HTTPS://host/x", &["https".into()]), Ok("https"));
        assert_eq!(protocol("file:///srv/x", &["https".into(), "file".into()]), Ok("file"));
    }
}
