//! The name of a repository.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A repository as `owner/name`: lower case, without `.git`, of `a-z 0-9 . _ -` alone.
///
/// Being this strict is what makes a comparison with a prefix trustworthy: no scheme, credentials, query, look-alike
/// letters, empty or dotted part can hide in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repo(String);

/// Why a text names no repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRepo {
    /// Nothing but blanks.
    #[error("must not be empty; write it as owner/name")]
    Empty,
    /// Over 256 characters.
    #[error("must be at most 256 characters")]
    TooLong,
    /// A URL, or something with credentials, a query or a fragment.
    #[error("must be owner/name, not a URL: without scheme, host, credentials, '?' or '#'")]
    Url,
    /// Not exactly two parts.
    #[error("must be owner/name: exactly one '/', with a part on each side")]
    Parts,
    /// A part that is `..`, starts with `-`, or the like.
    #[error("must not contain '..', a part of dots alone, or a part that begins with '-'")]
    Dots,
    /// A second `.git` at the end.
    #[error("must not end in '.git' twice")]
    DotGit,
    /// A character outside `A-Z a-z 0-9 . _ -`.
    #[error("may contain only the characters A-Z a-z 0-9 . _ - on each side of the '/'")]
    Characters,
}

impl Repo {
    /// Normalizes and checks `text`: trimmed, lower-cased, one trailing `.git` stripped (contract section 1).
    ///
    /// # Errors
    /// [`InvalidRepo`] says what is wrong and how to write it.
    pub fn parse(text: &str) -> Result<Self, InvalidRepo> {
        let lower = text.trim().to_lowercase();
        let name = lower.strip_suffix(".git").unwrap_or(&lower);
        if name.is_empty() {
            return Err(InvalidRepo::Empty);
        }
        if name.chars().count() > 256 {
            return Err(InvalidRepo::TooLong);
        }
        if name.contains([':', '@', '?', '#']) {
            return Err(InvalidRepo::Url);
        }
        if name.contains("..") {
            return Err(InvalidRepo::Dots);
        }
        let Some((owner, repository)) = name.split_once('/') else { return Err(InvalidRepo::Parts) };
        if owner.is_empty() || repository.is_empty() || repository.contains('/') {
            return Err(InvalidRepo::Parts);
        }
        for part in [owner, repository] {
            if !part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b)) {
                return Err(InvalidRepo::Characters);
            }
            if part == "." || part.starts_with('-') {
                return Err(InvalidRepo::Dots);
            }
        }
        if repository.ends_with(".git") {
            return Err(InvalidRepo::DotGit);
        }
        Ok(Self(name.into()))
    }

    /// `owner/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

crate::leaf!(Repo);

impl TryFrom<String> for Repo {
    type Error = InvalidRepo;

    fn try_from(text: String) -> Result<Self, InvalidRepo> {
        Self::parse(&text)
    }
}

impl From<Repo> for String {
    fn from(repo: Repo) -> Self {
        repo.0
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("octo/hello", "octo/hello")]
    #[case("  Octo/Hello.git ", "octo/hello")]
    #[case("A/B.GIT", "a/b")]
    #[case("a/b\n", "a/b")]
    #[case("org/.github", "org/.github")]
    fn normalizes(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(Repo::parse(text).unwrap().as_str(), expected);
    }

    #[rstest]
    #[case("", InvalidRepo::Empty)]
    #[case(" ", InvalidRepo::Empty)]
    #[case("../x", InvalidRepo::Dots)]
    #[case("a/..", InvalidRepo::Dots)]
    #[case("./x", InvalidRepo::Dots)]
    #[case("-a/x", InvalidRepo::Dots)]
    #[case("https://user:pw@host/x", InvalidRepo::Url)]
    #[case("git@host:a/b", InvalidRepo::Url)]
    #[case("a/b?x=1", InvalidRepo::Url)]
    #[case("a/b#x", InvalidRepo::Url)]
    #[case("a/b/c", InvalidRepo::Parts)]
    #[case("a", InvalidRepo::Parts)]
    #[case("/b", InvalidRepo::Parts)]
    #[case("a/", InvalidRepo::Parts)]
    #[case("a/.git", InvalidRepo::Parts)]
    #[case("a/b.git.git", InvalidRepo::DotGit)]
    #[case("a/b c", InvalidRepo::Characters)]
    #[case("myorg/\u{0430}pi", InvalidRepo::Characters)]
    #[case("my\u{200b}org/api", InvalidRepo::Characters)]
    #[case("myorg\\x/api", InvalidRepo::Characters)]
    fn refuses(#[case] text: &str, #[case] expected: InvalidRepo) {
        assert_eq!(Repo::parse(text), Err(expected));
    }

    proptest! {
        #[test]
        fn normalization_is_idempotent(text in ".{0,40}|[aA.gGitT/_-]{1,16}|[a-z]{1,5}/[a-z.]{1,9}(\\.git)?") {
            if let Ok(repo) = Repo::parse(&text) {
                prop_assert_eq!(Repo::parse(repo.as_str()), Ok(repo));
            }
        }
    }
}
