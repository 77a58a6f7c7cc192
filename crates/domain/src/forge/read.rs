//! The configuration of forges: read and checked as a whole, each error with the field that it is about.

use std::collections::BTreeMap;

use super::{Credential, Delivery, Forge, Forges, Grant, Kind, Mode, REPO, ReviewPolicy};
use crate::configuration::{InvalidConfiguration, invalid, parse};
use crate::name::{begins_label, is_label, is_object_name};
use crate::shown::is_troublesome;
use crate::task::git_ref_problem;
use crate::url::{host_name, is_loopback};

/// The greatest configuration that is read, in bytes.
pub const MAX_FORGES_BYTES: usize = 256 * 1024;
/// The greatest value of a Secret that is taken for a credential, in bytes.
pub const MAX_SECRET_BYTES: usize = 16 * 1024;
/// The most forges: each is looked through for each Task.
const MAX_FORGES: usize = 50;
/// The most entries of any list in it.
const MAX_ENTRIES: usize = 500;
/// The longest text in it, in bytes; of certificates only the file's own limit counts.
const MAX_TEXT_BYTES: usize = 500;

type Checked = Result<(), InvalidConfiguration>;

impl Forges {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`InvalidConfiguration`] names the first field that is wrong.
    pub fn read(yaml: &str) -> Result<Self, InvalidConfiguration> {
        let forges: Self = parse(yaml, MAX_FORGES_BYTES)?;
        if forges.0.len() > MAX_FORGES {
            return Err(invalid("(file)", format!("must be {MAX_FORGES} forges at most")));
        }
        let mut names = BTreeMap::new();
        let mut prefixes = BTreeMap::new();
        for (index, forge) in forges.0.iter().enumerate() {
            let at = format!("[{index}]");
            forge.check(&at)?;
            if let Some(other) = names.insert(&forge.name, index) {
                let message = format!("{:?} is the name of [{other}] too: each forge needs its own", forge.name);
                return Err(invalid(&format!("{at}.name"), message));
            }
            for (place, prefix) in forge.repos.iter().enumerate() {
                if let Some(other) = prefixes.insert(prefix, &forge.name) {
                    let message = format!(
                        "{prefix} is a prefix of the forge {other} and of {}: only one of them can serve it; take it out of the other",
                        forge.name
                    );
                    return Err(invalid(&format!("{at}.repos[{place}]"), message));
                }
            }
        }
        Ok(forges)
    }
}

fn fail(at: &str, field: &str, message: impl Into<String>) -> Checked {
    Err(invalid(&format!("{at}.{field}"), message.into()))
}

impl Forge {
    fn check(&self, at: &str) -> Checked {
        let Self { name, kind, repos, git, api, allow_plaintext, ca_bundle, read, write, grants, delivery } = self;
        if !is_label(name) {
            return fail(at, "name", "must be 1 to 63 lower-case letters, digits and inner dashes");
        }
        if repos.is_empty() || repos.len() > MAX_ENTRIES {
            return fail(at, "repos", format!("must be 1 to {MAX_ENTRIES} of owner/, owner/name and owner/name*"));
        }
        if let Err(message) = check_url(git, *allow_plaintext) {
            return fail(at, "git", message);
        }
        if git.matches(REPO).count() != 1 || git.split('/').nth(2).is_some_and(|host| host.contains(['{', '}'])) {
            return fail(at, "git", format!("must have {REPO} once, in its path: https://git.example.org/{REPO}.git"));
        }
        match (kind, api) {
            (Kind::Git, Some(_)) => return fail(at, "api", "must not be given with kind: git, which has none"),
            (Kind::Git, None) => {}
            (_, None) => return fail(at, "api", "is required: the address of its API up to the version"),
            (_, Some(api)) => {
                if let Err(message) = check_url(api, *allow_plaintext) {
                    return fail(at, "api", message);
                }
            }
        }
        if ca_bundle.as_ref().is_some_and(|pem| !pem.contains("-----BEGIN CERTIFICATE-----")) {
            return fail(at, "ca_bundle", "must be certificates in PEM");
        }
        for (field, credential) in [("read", read), ("write", write), ("delivery.signing", &delivery.signing)] {
            check_credential(at, field, credential.as_ref())?;
        }
        if grants.len() > MAX_ENTRIES {
            return fail(at, "grants", format!("must be {MAX_ENTRIES} at most"));
        }
        for (index, grant) in grants.iter().enumerate() {
            self.check_grant(&format!("{at}.grants[{index}]"), grant)?;
        }
        delivery.check(&format!("{at}.delivery"))
    }

    fn check_grant(&self, at: &str, grant: &Grant) -> Checked {
        let Grant { namespaces, repos, read, deliver } = grant;
        if namespaces.is_empty() || namespaces.len() > MAX_ENTRIES {
            return fail(at, "namespaces", format!("must name 1 to {MAX_ENTRIES}"));
        }
        let is_meant = |name: &str| name.strip_suffix('*').map_or_else(|| is_label(name), begins_label);
        if let Some(wrong) = namespaces.iter().find(|name| !is_meant(name)) {
            return fail(
                at,
                "namespaces",
                format!("{wrong:?} must be the name of a namespace, or its beginning and a *"),
            );
        }
        if repos.is_empty() || repos.len() > MAX_ENTRIES {
            return fail(at, "repos", format!("must name 1 to {MAX_ENTRIES}"));
        }
        if let Some(strange) = repos.iter().find(|prefix| !self.repos.iter().any(|own| own.meets(prefix))) {
            return fail(
                at,
                "repos",
                format!("{strange} is none of this forge's repositories: {}", listed(&self.repos)),
            );
        }
        if *read && self.read.is_none() {
            return fail(at, "read", "needs a credential: the forge's read.secret");
        }
        if deliver.contains(&Mode::None) {
            return fail(at, "deliver", "must be of branch, pull_request; an empty list grants none");
        }
        if !deliver.is_empty() && self.write.is_none() {
            return fail(at, "deliver", "needs a credential: the forge's write.secret");
        }
        if self.kind == Kind::Git && deliver.contains(&Mode::PullRequest) {
            return fail(at, "deliver", "a forge of kind: git has no pull requests: grant branch");
        }
        Ok(())
    }
}

impl Delivery {
    fn check(&self, at: &str) -> Checked {
        let Self { branch_prefix, protected, trailers, signing: _, review } = self;
        let is_branch = git_ref_problem(&format!("{branch_prefix}x")).is_none() && !branch_prefix.starts_with("refs/");
        if branch_prefix.is_empty() || branch_prefix.len() > 100 || !is_branch {
            return fail(at, "branch_prefix", "must be 1 to 100 characters that a branch may begin with, such as jct/");
        }
        check_texts(at, "protected", protected)?;
        if let Some(identity) = &trailers.identity {
            let address = identity.strip_suffix('>').and_then(|rest| rest.split_once(" <"));
            let is_good = address.is_some_and(|(name, address)| {
                !name.trim().is_empty() && address.contains('@') && !format!("{name}{address}").contains(['<', '>'])
            });
            if !is_good || identity.len() > MAX_TEXT_BYTES || identity.chars().any(is_troublesome) {
                return fail(at, "trailers.identity", "must be Name <address>, on one line");
            }
        }
        review.check(&format!("{at}.review"))
    }
}

impl ReviewPolicy {
    fn check(&self, at: &str) -> Checked {
        let Self { required: _, approvals, expires_hours, reviewers, self_approval: _, follow_ups, protected_paths } =
            self;
        let bounds = [
            ("approvals", *approvals, 1, 10),
            ("expires_hours", *expires_hours, 1, 8760),
            ("follow_ups", *follow_ups, 0, 20),
        ];
        if let Some((field, value, least, most)) =
            bounds.into_iter().find(|(_, value, least, most)| !(least..=most).contains(&value))
        {
            return fail(at, field, format!("must be from {least} to {most}, is {value}"));
        }
        if let Some(reviewers) = reviewers {
            if reviewers.users.is_empty() && reviewers.groups.is_empty() {
                return fail(at, "reviewers", "must name users or groups; left out, whoever may review does");
            }
            check_texts(at, "reviewers.users", &reviewers.users)?;
            check_texts(at, "reviewers.groups", &reviewers.groups)?;
        }
        check_texts(at, "protected_paths", protected_paths)
    }
}

fn check_credential(at: &str, field: &str, credential: Option<&Credential>) -> Checked {
    match credential {
        Some(Credential { secret }) if !is_object_name(secret) => {
            fail(at, &format!("{field}.secret"), "must be the name of a Secret in the operator's namespace")
        }
        _ => Ok(()),
    }
}

fn check_texts(at: &str, field: &str, texts: &[String]) -> Checked {
    let is_good = |text: &String| (1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.chars().any(is_troublesome);
    if texts.len() > MAX_ENTRIES || !texts.iter().all(is_good) {
        let message =
            format!("must be {MAX_ENTRIES} at most, each of 1 to {MAX_TEXT_BYTES} bytes without control characters");
        return fail(at, field, message);
    }
    Ok(())
}

/// Whether a forge may be at `url`.
fn check_url(url: &str, allow_plaintext: bool) -> Result<(), &'static str> {
    let rest = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => rest,
        (None, Some(rest)) if allow_plaintext || is_loopback(host_name(rest.split('/').next().unwrap_or_default())) => {
            rest
        }
        _ => return Err("must begin with https:// (with allow_plaintext: true, http:// as well)"),
    };
    let host = rest.split('/').next().unwrap_or_default();
    let is_odd = |c: char| c.is_whitespace() || is_troublesome(c) || "?#".contains(c);
    if host.is_empty() || host.contains('@') || rest.contains(is_odd) || url.len() > MAX_TEXT_BYTES {
        return Err(
            "must be https://HOST and a path at most, without user, query and fragment: credentials are in Secrets",
        );
    }
    Ok(())
}

fn listed<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::forge::AgentTrailer;

    const GOOD: &str = r#"
- name: own
  kind: gitea
  repos: [octo/, shop/api]
  git: "https://git.example/{repo}.git"
  api: https://git.example/api/v1
  read: {secret: own-read}
  write: {secret: own-write}
  grants: [{namespaces: [team-*], repos: [octo/hello], read: true, deliver: [branch]}]
  delivery: {branch_prefix: bot/, trailers: {agent: Assisted-by, identity: "Bot <bot@example.org>"}, review: {approvals: 2, reviewers: {users: [ada]}}}
- name: plain
  kind: git
  repos: [octo/plain]
  git: "https://git.example/{repo}"
"#;

    #[test]
    fn a_configuration_is_read_and_nothing_is_one_too() {
        let forges = Forges::read(GOOD).unwrap();
        let delivery = &forges.0[0].delivery;
        assert_eq!((&*delivery.branch_prefix, delivery.trailers.agent), ("bot/", AgentTrailer::AssistedBy));
        assert_eq!((delivery.review.approvals, delivery.review.expires_hours, delivery.review.required), (2, 72, true));
        assert!(delivery.review.protected_paths.iter().any(|path| path == "CODEOWNERS"));
        assert_eq!(Forges::read("").unwrap(), Forges::default());
        assert_eq!(Forges::read("[]").unwrap(), Forges::default());
        let written = serde_yaml::to_string(&forges).unwrap();
        assert_eq!(Forges::read(&written).unwrap(), forges);
    }

    #[rstest]
    #[case("name: plain", "name: own", "[1].name")]
    #[case("name: own", "name: Own", "[0].name")]
    #[case("kind: gitea", "kind: svn", "(file)")]
    #[case("kind: gitea", "kind: git", "[0].api")]
    #[case("repos: [octo/, shop/api]", "repos: []", "[0].repos")]
    #[case("repos: [octo/, shop/api]", "repos: [octo/*]", "(file)")]
    #[case("repos: [octo/plain]", "repos: [Octo/]", "[1].repos[0]")]
    #[case("repos: [octo/, shop/api]", "repos: [octo/, octo/]", "[0].repos[1]")]
    #[case("https://git.example/{repo}.git", "http://git.example/{repo}.git", "[0].git")]
    #[case("https://git.example/{repo}.git", "https://me:secret@git.example/{repo}.git", "[0].git")]
    #[case("https://git.example/{repo}.git", "https://git.example/repo.git", "[0].git")]
    #[case("https://git.example/{repo}.git", "https://{repo}.example/", "[0].git")]
    #[case("api: https://git.example/api/v1", "api: git.example", "[0].api")]
    #[case("  api: https://git.example/api/v1\n", "", "[0].api")]
    #[case("secret: own-read", "secret: 'own read'", "[0].read.secret")]
    #[case("  read: {secret: own-read}\n", "", "[0].grants[0].read")]
    #[case("  write: {secret: own-write}\n", "", "[0].grants[0].deliver")]
    #[case("write: {secret: own-write}", "write: {secret: own-write, token: x}", "(file)")]
    #[case("write: {secret: own-write}", "write: {secret: own-write}\n  ca_bundle: corporate", "[0].ca_bundle")]
    #[case("namespaces: [team-*]", "namespaces: [te*m]", "[0].grants[0].namespaces")]
    #[case("namespaces: [team-*]", "namespaces: [Team]", "[0].grants[0].namespaces")]
    #[case("repos: [octo/hello]", "repos: [other/hello]", "[0].grants[0].repos")]
    #[case("deliver: [branch]", "deliver: [none]", "[0].grants[0].deliver")]
    #[case("deliver: [branch]", "deliver: [push]", "(file)")]
    #[case("branch_prefix: bot/", "branch_prefix: ''", "[0].delivery.branch_prefix")]
    #[case("branch_prefix: bot/", "branch_prefix: '-x'", "[0].delivery.branch_prefix")]
    #[case("branch_prefix: bot/", "branch_prefix: refs/heads/", "[0].delivery.branch_prefix")]
    #[case("Bot <bot@example.org>", "Bot", "[0].delivery.trailers.identity")]
    #[case("Bot <bot@example.org>", "Bot\\nEvil <bot@example.org>", "[0].delivery.trailers.identity")]
    #[case("approvals: 2", "approvals: 0", "[0].delivery.review.approvals")]
    #[case("approvals: 2", "expires_hours: 0", "[0].delivery.review.expires_hours")]
    #[case("users: [ada]", "users: []", "[0].delivery.review.reviewers")]
    #[case("users: [ada]", "users: ['']", "[0].delivery.review.reviewers.users")]
    fn what_is_wrong_is_told_with_its_field(#[case] good: &str, #[case] bad: &str, #[case] field: &str) {
        assert!(GOOD.contains(good), "{good}");
        let error = Forges::read(&GOOD.replacen(good, bad, 1)).unwrap_err();
        assert_eq!(error.field, field, "{error}");
        assert!(!error.message.contains("secret@"), "{error}");
    }

    #[test]
    fn two_forges_with_one_prefix_are_both_named() {
        let error = Forges::read(&GOOD.replace("[octo/plain]", "[octo/plain, SHOP/api]")).unwrap_err().to_string();
        assert!(error.contains("shop/api") && error.contains("own") && error.contains("plain"), "{error}");
    }

    #[test]
    fn plaintext_is_for_this_machine_or_on_purpose() {
        let at = |host: &str, more: &str| {
            Forges::read(&format!("[{{name: a, kind: git, repos: [a/], git: 'http://{host}/{{repo}}'{more}}}]"))
        };
        assert!(at("127.0.0.1:3000", "").is_ok() && at("[::1]:3000", "").is_ok());
        assert!(at("git.example", "").is_err() && at("git.example", ", allow_plaintext: true").is_ok());
        assert!(at("127.0.0.1.example.org", "").is_err());
    }

    #[test]
    fn plain_git_has_no_pull_requests() {
        let granted = |mode: &str| {
            let yaml = format!(
                "[{{name: a, kind: git, repos: [a/], git: 'https://x/{{repo}}', write: {{secret: w}}, \
                 grants: [{{namespaces: ['*'], repos: [a/], deliver: [{mode}]}}]}}]"
            );
            Forges::read(&yaml)
        };
        assert!(granted("branch").is_ok());
        assert_eq!(granted("pull_request").unwrap_err().field, "[0].grants[0].deliver");
    }
}
