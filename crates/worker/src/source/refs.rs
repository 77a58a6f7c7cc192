//! What a ref means at a remote. Pure.

use jct_domain::FailureReason;
use jct_domain::task::git_ref_problem;
use jct_untrusted::Failure;

/// More of a listing is not kept, in bytes.
const MAX_LISTED_BYTES: usize = 1024 * 1024;

/// What to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A commit by its full id.
    Commit(String),
    /// A ref of the remote by its full name.
    Ref(String),
}

/// The full names that `git_ref` may have, the one that wins first: a branch before a tag, as `git clone --branch` does.
///
/// Branches and tags alone: what hosts keep under other names, such as `refs/pull/7/head`, is written by people who may
/// not write to the repository, and the gate has allowed the repository, not its visitors.
///
/// # Errors
/// [`FailureReason::RefNotFound`] if no ref can have that name.
pub fn candidates(git_ref: &str) -> Result<Vec<String>, Failure> {
    if git_ref.is_empty() {
        return Err(not_found(git_ref, "a ref has at least one character"));
    }
    if let Some(problem) = git_ref_problem(git_ref) {
        return Err(not_found(git_ref, &format!("a ref {problem}")));
    }
    if git_ref == "HEAD" || git_ref.starts_with("refs/heads/") || git_ref.starts_with("refs/tags/") {
        return Ok(vec![git_ref.into()]);
    }
    Ok(vec![format!("refs/heads/{git_ref}"), format!("refs/tags/{git_ref}")])
}

/// Whether `text` is a full commit id of SHA-1 or SHA-256.
pub fn is_commit_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What `git ls-remote --symref` writes before the name that HEAD stands for.
const SYMREF: &str = "ref: ";

/// The length of an object's id in the output of `git ls-remote --symref`, by which SHA-1 and SHA-256 are told apart.
pub fn id_length(ls_remote: &[u8]) -> usize {
    let lines = ls_remote.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(SYMREF.as_bytes()));
    lines.filter_map(|line| line.iter().position(|byte| *byte == b'\t')).next().unwrap_or(40)
}

/// The branch that HEAD stands for, as far as the remote says.
fn default_branch(ls_remote: &[u8]) -> Option<String> {
    let lines = ls_remote.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let name = lines.filter_map(|line| line.strip_prefix(SYMREF)?.strip_suffix("\tHEAD")).next()?;
    Some(name.strip_prefix("refs/heads/")?.chars().take(256).collect())
}

/// What a remote advertises, as `git ls-remote` prints it: the refs that were asked for, and how many tags there are.
#[derive(Debug)]
pub struct Advertised<'a> {
    candidates: &'a [String],
    partial: Vec<u8>,
    /// All lines but those of other tags.
    pub lines: Vec<u8>,
    pub tags: u64,
}

impl<'a> Advertised<'a> {
    /// Before the first line. Tags of these names are kept.
    pub fn of(candidates: &'a [String]) -> Self {
        Self { candidates, partial: Vec::new(), lines: Vec::new(), tags: 0 }
    }

    /// Takes what is printed next.
    ///
    /// # Errors
    /// [`FailureReason::SourceUnavailable`] for more than any honest remote has.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend(part);
            if part.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.partial);
                self.line(&line);
            }
            if self.partial.len().max(self.lines.len()) > MAX_LISTED_BYTES {
                return Err(Failure::new(FailureReason::SourceUnavailable, "the repository lists too many refs"));
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) {
        let name = line.iter().position(|byte| *byte == b'\t').and_then(|tab| line.get(tab + 1..)).unwrap_or_default();
        let name = name.strip_suffix(b"\n").unwrap_or(name);
        let is_tag = name.starts_with(b"refs/tags/");
        // `v1^{}` is what the tag v1 leads to.
        self.tags += u64::from(is_tag && !name.ends_with(b"^{}"));
        if !is_tag || self.candidates.iter().any(|candidate| candidate.as_bytes() == name) {
            self.lines.extend(line);
        }
    }
}

/// Chooses among the remote's refs, the output of `git ls-remote --symref`. A full commit id stands for itself, unless the remote
/// has a ref of that name.
///
/// # Errors
/// [`FailureReason::RefNotFound`].
pub fn choose(git_ref: &str, ls_remote: &[u8]) -> Result<Wanted, Failure> {
    let advertised: Vec<&str> = ls_remote
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok()?.split_once('\t'))
        .map(|(_, name)| name)
        .collect();
    if let Some(name) = candidates(git_ref)?.into_iter().find(|name| advertised.contains(&name.as_str())) {
        return Ok(Wanted::Ref(name));
    }
    if is_commit_id(git_ref) {
        return Ok(Wanted::Commit(git_ref.to_ascii_lowercase()));
    }
    let abbreviated = git_ref.len() >= 4 && git_ref.bytes().all(|b| b.is_ascii_hexdigit());
    let hint = if abbreviated {
        "the repository has no such branch or tag; if it is an abbreviated commit id, give the full one (40 or 64 hex digits)"
    } else {
        "the repository has no such branch or tag"
    };
    Err(match default_branch(ls_remote) {
        Some(branch) => {
            not_found(git_ref, &format!("{hint}; its default branch is {branch:?}, for target.ref to name"))
        }
        None => not_found(git_ref, hint),
    })
}

/// The failure of a ref that is not there.
pub fn not_found(git_ref: &str, why: &str) -> Failure {
    Failure::new(FailureReason::RefNotFound, format!("ref {git_ref:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const REMOTE: &[u8] =
        b"ref: refs/heads/trunk\tHEAD\n1111\tHEAD\n1111\trefs/heads/main\n2222\trefs/tags/v1\n3333\trefs/heads/v1\n\
        4444\trefs/heads/x/refs/heads/lost\n5555\trefs/pull/7/head\n";

    #[rstest]
    #[case("main", "refs/heads/main")]
    #[case("v1", "refs/heads/v1")]
    #[case("refs/tags/v1", "refs/tags/v1")]
    #[case("HEAD", "HEAD")]
    fn finds(#[case] git_ref: &str, #[case] expected: &str) {
        assert_eq!(choose(git_ref, REMOTE), Ok(Wanted::Ref(expected.into())));
    }

    #[rstest]
    #[case("lost", "no such branch or tag; its default branch is \"trunk\"")]
    #[case("pull/7/head", "no such branch")]
    #[case("refs/pull/7/head", "no such branch")]
    #[case("deadbeef", "full one")]
    #[case("--upload-pack=x", "must not begin with '-'")]
    #[case("a..b", "must not contain")]
    #[case("", "at least one")]
    fn does_not_find(#[case] git_ref: &str, #[case] expected: &str) {
        let failure = choose(git_ref, REMOTE).unwrap_err();
        assert_eq!(failure.reason, FailureReason::RefNotFound);
        assert!(failure.message.contains(expected), "{failure}");
    }

    #[test]
    fn a_remote_that_names_no_default_branch_is_told_of_without() {
        let failure = choose("lost", b"1111\trefs/heads/main\n").unwrap_err();
        assert!(failure.message.ends_with("no such branch or tag"), "{failure}");
    }

    #[test]
    fn ids_are_measured_by_the_refs_that_have_one() {
        assert_eq!(id_length(REMOTE), 4);
        assert_eq!(id_length(b""), 40);
    }

    #[test]
    fn tags_are_counted_and_only_those_asked_for_are_kept() {
        let listing =
            b"1111\tHEAD\n2222\trefs/tags/v1\n3333\trefs/tags/v1^{}\n4444\trefs/tags/v2\n5555\trefs/heads/v1\n";
        let candidates = candidates("v1").unwrap();
        for size in [1, 7, 1000] {
            let mut advertised = Advertised::of(&candidates);
            listing.chunks(size).for_each(|chunk| advertised.push(chunk).unwrap());
            assert_eq!(advertised.tags, 2);
            assert_eq!(advertised.lines, b"1111\tHEAD\n2222\trefs/tags/v1\n5555\trefs/heads/v1\n");
        }
        assert!(Advertised::of(&candidates).push(&vec![b'x'; MAX_LISTED_BYTES + 1]).is_err());
    }

    #[test]
    fn a_full_id_is_a_commit() {
        let id = "ABCDEF6789012345678901234567890123456789";
        assert_eq!(choose(id, REMOTE), Ok(Wanted::Commit(id.to_lowercase())));
    }
}
