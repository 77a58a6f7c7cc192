//! What it means that a forge does not show a repository. Pure.

use jct_domain::FailureReason;
use jct_untrusted::Failure;

/// How git says that there is none, or that it may not be seen.
const NOT_SHOWN: [&str; 3] = ["not found", "returned error: 404", "returned error: 410"];
/// How it says that somebody else may see it.
const NOT_ALLOWED: [&str; 5] = [
    "could not read Username",
    "could not read Password",
    "Authentication failed",
    "returned error: 401",
    "returned error: 403",
];

/// Who was asked for a repository.
#[derive(Clone, Copy, Debug)]
pub struct Forge<'a> {
    pub name: &'a str,
    pub repo: &'a str,
    /// Whether it was asked with its credential.
    pub has_login: bool,
}

impl Forge<'_> {
    /// The failure that a complaint of git stands for; none if it is about something else.
    ///
    /// Whether a repository is there or is private makes no difference to whoever is not granted it.
    pub fn refuses(&self, complaint: &str) -> Option<Failure> {
        let Self { name, repo, has_login } = self;
        let says = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
        let (reason, message) = match (has_login, says(&NOT_SHOWN), says(&NOT_ALLOWED)) {
            (false, true, _) | (false, _, true) => (
                FailureReason::SourceNotFound,
                format!("the forge {name} shows no repository {repo}: there is none of this name, or it is not public"),
            ),
            (true, true, _) => {
                (FailureReason::SourceNotFound, format!("the forge {name} shows its reader no repository {repo}"))
            }
            (true, _, true) => (
                FailureReason::SourceUnavailable,
                format!(
                    "the forge {name} does not take its credential for reading {repo}: whoever configures forges can test it by jct forge check"
                ),
            ),
            _ => return None,
        };
        Some(Failure::new(reason, message))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const MISSING: &str = "remote: Not found.; fatal: repository 'https://h/a/b/' not found";
    const PRIVATE: &str = "fatal: could not read Username for 'https://h': terminal prompts disabled";
    const WRONG: &str = "remote: Invalid username or password.; fatal: Authentication failed for 'https://h/a/b/'";

    #[rstest]
    #[case(MISSING, false, Some(FailureReason::SourceNotFound))]
    #[case(PRIVATE, false, Some(FailureReason::SourceNotFound))]
    #[case(MISSING, true, Some(FailureReason::SourceNotFound))]
    #[case(WRONG, true, Some(FailureReason::SourceUnavailable))]
    #[case(
        "fatal: unable to access 'https://h/': The requested URL returned error: 403",
        true,
        Some(FailureReason::SourceUnavailable)
    )]
    #[case("fatal: unable to access 'https://h/': The requested URL returned error: 500", true, None)]
    #[case("fatal: unable to access 'https://h/': Could not resolve host: h", false, None)]
    fn what_a_forge_does_not_show(
        #[case] complaint: &str,
        #[case] has_login: bool,
        #[case] expected: Option<FailureReason>,
    ) {
        let failure = Forge { name: "hub", repo: "a/b", has_login }.refuses(complaint);
        assert_eq!(failure.map(|failure| failure.reason), expected);
    }

    #[test]
    fn what_is_missing_and_what_is_private_are_the_same_to_who_may_not_know() {
        let told = |complaint| Forge { name: "hub", repo: "a/b", has_login: false }.refuses(complaint);
        assert_eq!(told(MISSING), told(PRIVATE));
    }
}
