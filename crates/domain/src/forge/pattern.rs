//! Patterns: of repositories, of branches, of paths.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::task::{InvalidRepo, Repo};

/// Which repositories: `owner/`, `owner/name` (exactly that one) or `owner/name*`.
///
/// It is written as [`Repo`] writes names, so that a comparison of bytes is trustworthy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    /// What a repository begins with, or is.
    text: String,
    is_exact: bool,
}

/// A text that says of no repository whether it is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrefix {
    /// None of the three forms.
    #[error("{0:?} must be owner/ (all of an owner's), owner/name (that one) or owner/name* (all that begin so)")]
    Form(String),
    /// What stands before the star is no beginning of a repository's name.
    #[error("{0:?}: {1}")]
    Repo(String, InvalidRepo),
}

impl Prefix {
    /// Reads it.
    ///
    /// # Errors
    /// It is repeated, with how to write it.
    pub fn parse(text: &str) -> Result<Self, InvalidPrefix> {
        let form = || InvalidPrefix::Form(text.into());
        let repo = |name: &str| Repo::parse(name).map_err(|error| InvalidPrefix::Repo(text.into(), error));
        let trimmed = text.trim();
        let (begins, name) = trimmed.split_once('/').ok_or_else(form)?;
        if begins.is_empty() || name == "*" {
            return Err(form());
        }
        if name.is_empty() {
            let owner = repo(&format!("{begins}/x"))?;
            return Ok(Self { text: owner.as_str().trim_end_matches('x').into(), is_exact: false });
        }
        match trimmed.strip_suffix('*') {
            // A whole name has no .git at its end, a beginning may: of a name such as `a.github.io`.
            Some(beginning) => {
                let whole = repo(&format!("{beginning}x"))?;
                let text = whole.as_str().strip_suffix('x').ok_or_else(form)?.to_owned();
                Ok(Self { text, is_exact: false })
            }
            None => Ok(Self { text: repo(trimmed)?.as_str().into(), is_exact: true }),
        }
    }

    /// Whether it means this one.
    pub fn names(&self, repo: &Repo) -> bool {
        if self.is_exact { self.text == repo.as_str() } else { repo.as_str().starts_with(&self.text) }
    }

    /// The one repository that it means, if it means one.
    pub fn exact(&self) -> Option<Repo> {
        self.is_exact.then(|| Repo::parse(&self.text).ok()).flatten()
    }

    /// Whether some repository may be meant by both.
    pub fn meets(&self, other: &Self) -> bool {
        match (self.is_exact, other.is_exact) {
            (true, true) => self.text == other.text,
            (true, false) => self.text.starts_with(&other.text),
            (false, true) => other.text.starts_with(&self.text),
            (false, false) => self.text.starts_with(&other.text) || other.text.starts_with(&self.text),
        }
    }

    /// Of two that name a repository the greater one counts.
    pub(super) fn rank(&self) -> (usize, bool) {
        (self.text.len(), self.is_exact)
    }
}

impl TryFrom<String> for Prefix {
    type Error = InvalidPrefix;

    fn try_from(text: String) -> Result<Self, InvalidPrefix> {
        Self::parse(&text)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.is_exact || self.text.ends_with('/') { "" } else { "*" };
        write!(f, "{}{star}", self.text)
    }
}

/// Whether `text` is like `pattern`, in which `*` stands for anything, also for nothing.
pub fn is_like(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = left.split_once(part) else { return false };
        left = after;
    }
    left.ends_with(last)
}

/// Whether a file's `path` is what `pattern` means, or below it, whatever the case of letters: there are file systems that make no
/// difference. A pattern without `/` means a file or folder of that name anywhere; one with a `/`, also a leading one, is from the
/// repository's root. `*` stands for anything within a name.
pub fn is_path_like(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.to_lowercase(), path.to_lowercase());
    let is_anchored = pattern.trim_end_matches('/').contains('/');
    let wanted: Vec<&str> = pattern.split('/').filter(|name| !name.is_empty()).collect();
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let begins = |names: &[&str]| {
        names.len() >= wanted.len() && wanted.iter().zip(names).all(|(pattern, name)| is_like(pattern, name))
    };
    if wanted.is_empty() {
        return false;
    }
    if is_anchored { begins(&names) } else { (0..names.len()).any(|at| names.get(at..).is_some_and(begins)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn names(prefix: &str, repo: &str) -> bool {
        Prefix::parse(prefix).unwrap().names(&Repo::parse(repo).unwrap())
    }

    #[rstest]
    #[case("octo/", "octo/hello", true)]
    #[case("Octo/", "octo/hello", true)]
    #[case("octo/", "octo-evil/hello", false)]
    #[case("octo/", "octocat/hello", false)]
    #[case("octo/", "evil/octo", false)]
    #[case("octo/hello", "octo/hello", true)]
    #[case("octo/Hello.git", "octo/hello", true)]
    #[case("octo/hello", "octo/hello-evil", false)]
    #[case("octo/hello", "octo/hello.evil", false)]
    #[case("octo/hello", "octo/hell", false)]
    #[case("octo/hello*", "octo/hello", true)]
    #[case("octo/hello*", "octo/hello-world", true)]
    #[case("octo/hello*", "octo/hell", false)]
    #[case("octo/x-*", "octo/x-1", true)]
    #[case("octo/x-*", "octo/x", false)]
    #[case("octo/a.git*", "octo/a.github", true)]
    #[case("xx/", "x/a", false)]
    #[case("xx/", "xx/a", true)]
    fn a_prefix_names(#[case] prefix: &str, #[case] repo: &str, #[case] expected: bool) {
        assert_eq!(names(prefix, repo), expected);
    }

    #[rstest]
    fn what_is_no_prefix_is_told_with_the_form(
        #[values(
            "",
            "*",
            "octo",
            "octo*",
            "/",
            "/x",
            "octo/*",
            "o*/x",
            "octo/a*b",
            "octo/a/b",
            "https://x/y",
            "octo/../x",
            "\u{43e}cto/"
        )]
        text: &str,
    ) {
        assert!(Prefix::parse(text).unwrap_err().to_string().contains(&format!("{text:?}")));
    }

    #[rstest]
    #[case("main", "main", true)]
    #[case("main", "main2", false)]
    #[case("release/*", "release/1.0", true)]
    #[case("release/*", "release", false)]
    #[case("*", "", true)]
    #[case("a*b*c", "abc", true)]
    #[case("a*b*c", "a-b-bc", true)]
    #[case("a*b*c", "acb", false)]
    #[case("a*a", "a", false)]
    fn a_star_stands_for_anything(#[case] pattern: &str, #[case] text: &str, #[case] expected: bool) {
        assert_eq!(is_like(pattern, text), expected);
    }

    #[rstest]
    #[case("CODEOWNERS", "CODEOWNERS", true)]
    #[case("CODEOWNERS", "docs/codeowners", true)]
    #[case("CODEOWNERS", "CODEOWNERS.md", false)]
    #[case(".github/workflows", ".github/workflows/a/b.yml", true)]
    #[case(".github/workflows/", ".GitHub/Workflows/a.yml", true)]
    #[case(".github/workflows", "vendor/.github/workflows/a.yml", false)]
    #[case(".github/workflows", ".github/workflows-old/a.yml", false)]
    #[case("/hooks", "hooks/post-merge", true)]
    #[case("/hooks", "src/hooks/use.ts", false)]
    #[case("hooks/", "src/hooks/use.ts", true)]
    #[case("src/*.key", "src/a.key", true)]
    #[case("src/*.key", "src/b/a.key", false)]
    #[case("", "a", false)]
    #[case("/", "a", false)]
    fn a_path_is_protected(#[case] pattern: &str, #[case] path: &str, #[case] expected: bool) {
        assert_eq!(is_path_like(pattern, path), expected);
    }

    proptest! {
        /// Whatever looks like it: a prefix names no repository of another owner, and a whole name no other one.
        #[test]
        fn look_alikes_are_not_named(owner in "[a-z]{1,4}", name in "[a-z.-]{1,5}", other in "[a-z._-]{1,6}/[a-z._-]{1,6}") {
            let (Ok(other), Ok(repo)) = (Repo::parse(&other), Repo::parse(&format!("{owner}/{name}"))) else { return Ok(()) };
            prop_assert_eq!(names(&format!("{owner}/"), other.as_str()), other.as_str().split('/').next() == Some(&*owner));
            prop_assert_eq!(names(repo.as_str(), other.as_str()), repo == other);
            let beginning = format!("{}*", repo.as_str());
            prop_assert_eq!(names(&beginning, other.as_str()), other.as_str().starts_with(repo.as_str()));
        }

        #[test]
        fn it_is_read_as_it_is_written(text in "[a-zA-Z]{1,3}/[a-z.-]{0,4}[*]?") {
            if let Ok(prefix) = Prefix::parse(&text) {
                prop_assert_eq!(Prefix::parse(&prefix.to_string()), Ok(prefix));
            }
        }

        #[test]
        fn a_repository_that_both_name_is_where_they_meet(one in "[ab]/[ab]{0,2}[*]?", other in "[ab]/[ab]{0,2}[*]?", repo in "[ab]/[ab]{1,3}") {
            let (Ok(one), Ok(other), Ok(repo)) = (Prefix::parse(&one), Prefix::parse(&other), Repo::parse(&repo)) else { return Ok(()) };
            if one.names(&repo) && other.names(&repo) {
                prop_assert!(one.meets(&other) && other.meets(&one));
            }
        }
    }
}
