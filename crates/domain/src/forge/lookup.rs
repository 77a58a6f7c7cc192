//! Which forge has a repository, and what a namespace may do with it there.

use super::{Credential, Forge, Forges, Grant, Kind, Mode, REPO};
use crate::name::names_namespace;
use crate::task::Repo;

/// What a namespace may do with a repository by its forge's credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Whether it is read with the credential.
    pub read: bool,
    /// What may be delivered.
    pub deliver: Vec<Mode>,
}

/// Why something may not be delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGranted {
    /// It is nobody's repository.
    #[error("no forge of the operator's configuration has {0}")]
    NoForge(Repo),
    /// No grant.
    #[error("no grant of the forge {forge} lets namespace {namespace} deliver to {repo}")]
    NoGrant {
        /// Which.
        forge: String,
        /// Whose Task.
        namespace: String,
        /// To which repository.
        repo: Repo,
    },
    /// One that lets it do something else.
    #[error("the grant of the forge {forge} for namespace {namespace} and {repo} has {allowed} only, not {mode}")]
    OtherMode {
        /// Which.
        forge: String,
        /// Whose Task.
        namespace: String,
        /// To which repository.
        repo: Repo,
        /// What is wanted.
        mode: Mode,
        /// What may be.
        allowed: String,
    },
    /// Nothing to do it with.
    #[error("the forge {0} has no credential to write with")]
    NoCredential(String),
}

impl Forges {
    /// The forge that serves `repo`: of those that name it the one with the longest prefix.
    pub fn for_repository(&self, repo: &Repo) -> Option<&Forge> {
        let of =
            |forge: &Forge| forge.repos.iter().filter(|prefix| prefix.names(repo)).map(|prefix| prefix.rank()).max();
        let ranked = self.0.iter().filter_map(|forge| Some((of(forge)?, forge)));
        ranked.max_by_key(|(rank, _)| *rank).map(|(_, forge)| forge)
    }

    /// The forge of this name.
    pub fn named(&self, name: &str) -> Option<&Forge> {
        self.0.iter().find(|forge| forge.name == name)
    }

    /// With which credential of which forge a Task of `namespace` reads `repo`; without any where there is none.
    pub fn reads(&self, namespace: &str, repo: &Repo) -> Option<(&Forge, &Credential)> {
        let forge = self.for_repository(repo)?;
        forge.granted(namespace, repo).read.then_some(())?;
        Some((forge, forge.read.as_ref()?))
    }

    /// To which forge, with which credential, a Task of `namespace` may deliver so.
    ///
    /// # Errors
    /// [`NotGranted`].
    pub fn delivers(&self, namespace: &str, repo: &Repo, mode: Mode) -> Result<(&Forge, &Credential), NotGranted> {
        let forge = self.for_repository(repo).ok_or_else(|| NotGranted::NoForge(repo.clone()))?;
        let (name, namespace, to) = (|| forge.name.clone(), || namespace.to_owned(), || repo.clone());
        let granted = forge.granted(&namespace(), repo).deliver;
        if granted.is_empty() {
            return Err(NotGranted::NoGrant { forge: name(), namespace: namespace(), repo: to() });
        }
        if !granted.contains(&mode) {
            let allowed = granted.iter().map(|mode| mode.as_str()).collect::<Vec<_>>().join(", ");
            return Err(NotGranted::OtherMode { forge: name(), namespace: namespace(), repo: to(), mode, allowed });
        }
        let credential = forge.write.as_ref().ok_or_else(|| NotGranted::NoCredential(name()))?;
        Ok((forge, credential))
    }

    /// The names of all Secrets that are read, each once.
    pub fn secrets(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for Forge { read, write, delivery, .. } in &self.0 {
            names.extend([read, write, &delivery.signing].into_iter().flatten().map(|credential| &*credential.secret));
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Forge {
    /// What a Task of `namespace` may do with `repo`: of the grants that name the namespace, what those with the longest prefix say.
    pub fn granted(&self, namespace: &str, repo: &Repo) -> Granted {
        let of =
            |grant: &Grant| grant.repos.iter().filter(|prefix| prefix.names(repo)).map(|prefix| prefix.rank()).max();
        let grants = self.grants.iter().filter(|grant| names_namespace(&grant.namespaces, namespace));
        let ranked: Vec<_> = grants.filter_map(|grant| Some((of(grant)?, grant))).collect();
        let longest = ranked.iter().map(|(rank, _)| *rank).max();
        let mut granted = Granted::default();
        for (_, grant) in ranked.iter().filter(|(rank, _)| Some(*rank) == longest) {
            granted.read |= grant.read;
            granted.deliver.extend(&grant.deliver);
        }
        granted.deliver.sort_unstable();
        granted.deliver.dedup();
        granted
    }

    /// From where git reads `repo`.
    pub fn git_url(&self, repo: &Repo) -> String {
        self.git.replace(REPO, repo.as_str())
    }

    /// The user that goes with a token where its Secret names none.
    pub fn default_username(&self) -> &'static str {
        match self.kind {
            // https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation
            Kind::Github => "x-access-token",
            // https://docs.gitlab.com/user/profile/personal_access_tokens/: any user will do.
            Kind::Gitlab => "oauth2",
            // https://docs.gitea.com/development/api-usage: the token is the password, the user is not looked at.
            Kind::Gitea | Kind::Git => "jct",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const FORGES: &str = r#"
- name: hub
  kind: github
  repos: [octo/, shop/api]
  git: "https://github.com/{repo}.git"
  api: https://api.github.com
  read: {secret: hub-read}
  write: {secret: hub-write}
  grants:
    - {namespaces: ["team-*"], repos: [octo/], read: true, deliver: [branch]}
    - {namespaces: [team-a], repos: [octo/hello], read: true, deliver: [pull_request, branch]}
    - {namespaces: ["*"], repos: [octo/secret], read: false}
    - {namespaces: [shop], repos: [shop/api], deliver: [branch]}
- name: own
  kind: gitea
  repos: [octo/own-*, shop/]
  git: "https://git.example/{repo}.git"
  api: https://git.example/api/v1
  read: {secret: own-read}
  write: {secret: own-write}
  grants: [{namespaces: [team-a], repos: [octo/, shop/], read: true, deliver: [branch]}]
"#;

    fn forges() -> Forges {
        Forges::read(FORGES).unwrap()
    }

    fn repo(name: &str) -> Repo {
        Repo::parse(name).unwrap()
    }

    #[rstest]
    #[case("octo/hello", Some("hub"))]
    #[case("octo/own-1", Some("own"))]
    #[case("octo/own", Some("hub"))]
    #[case("shop/api", Some("hub"))]
    #[case("shop/api-2", Some("own"))]
    #[case("octo-evil/hello", None)]
    fn the_longest_prefix_serves(#[case] name: &str, #[case] expected: Option<&str>) {
        assert_eq!(forges().for_repository(&repo(name)).map(|forge| &*forge.name), expected);
    }

    #[rstest]
    #[case("team-a", "octo/hello", Some("hub-read"))]
    #[case("team-b", "octo/hello", Some("hub-read"))]
    #[case("other", "octo/hello", None)]
    // Look-alikes of a namespace that is granted something, and of repositories.
    #[case("team", "octo/hello", None)]
    #[case("x-team-a", "octo/hello", None)]
    #[case("team-a", "octo-evil/hello", None)]
    // What all may not is what nobody may, though a shorter prefix would let them.
    #[case("team-a", "octo/secret", None)]
    #[case("team-a", "octo/secret-2", Some("hub-read"))]
    #[case("team-a", "octo/own-1", Some("own-read"))]
    // The grant of a forge that does not serve it is none.
    #[case("team-b", "octo/own-1", None)]
    #[case("team-a", "shop/api", None)]
    #[case("shop", "shop/api", None)]
    fn who_reads_with_the_credential(#[case] namespace: &str, #[case] name: &str, #[case] expected: Option<&str>) {
        let forges = forges();
        let reads = forges.reads(namespace, &repo(name));
        assert_eq!(reads.map(|(_, credential)| &*credential.secret), expected);
    }

    #[rstest]
    #[case("team-a", "octo/hello", Mode::PullRequest, Ok("hub-write"))]
    #[case("team-b", "octo/hello", Mode::Branch, Ok("hub-write"))]
    #[case("team-b", "octo/hello", Mode::PullRequest, Err("has branch only, not pull_request"))]
    #[case("other", "octo/hello", Mode::Branch, Err("no grant of the forge hub lets namespace other"))]
    #[case("team-a", "octo/secret", Mode::Branch, Err("no grant"))]
    #[case("team-a", "octo/own-1", Mode::Branch, Ok("own-write"))]
    #[case("team-a", "elsewhere/x", Mode::Branch, Err("no forge"))]
    fn who_delivers(
        #[case] namespace: &str,
        #[case] name: &str,
        #[case] mode: Mode,
        #[case] expected: Result<&str, &str>,
    ) {
        let forges = forges();
        match (forges.delivers(namespace, &repo(name), mode), expected) {
            (Ok((_, credential)), Ok(expected)) => assert_eq!(credential.secret, expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (got, expected) => panic!("{got:?} is not {expected:?}"),
        }
    }

    #[test]
    fn secrets_are_named_once_and_addresses_filled_in() {
        let forges = forges();
        assert_eq!(forges.secrets(), ["hub-read", "hub-write", "own-read", "own-write"]);
        assert_eq!(forges.0[0].git_url(&repo("octo/a")), "https://github.com/octo/a.git");
    }

    proptest! {
        /// A namespace that no grant names has nothing, whatever the repository is called.
        #[test]
        fn without_a_grant_there_is_nothing(namespace in "[a-z-]{1,8}", owner in "octo|shop|oct|octo-|octo.x", name in "[a-z-]{1,8}") {
            let (Ok(repo), forges) = (Repo::parse(&format!("{owner}/{name}")), forges()) else { return Ok(()) };
            if !namespace.starts_with("team-") && namespace != "shop" {
                prop_assert!(forges.reads(&namespace, &repo).is_none());
                prop_assert!(Mode::ALL.into_iter().all(|mode| forges.delivers(&namespace, &repo, mode).is_err()));
            }
            if !["octo", "shop"].contains(&&*owner) {
                prop_assert!(forges.reads("team-a", &repo).is_none());
            }
        }

        /// The order in which forges and grants stand makes no difference.
        #[test]
        fn order_makes_no_difference(name in "(octo|shop)/(own-|hello|secret|api)[a-c]{0,2}", namespace in "team-[ab]|shop|x") {
            let (repo, forges) = (repo(&name), forges());
            let mut turned = forges.clone();
            turned.0.reverse();
            turned.0.iter_mut().for_each(|forge| forge.grants.reverse());
            prop_assert_eq!(forges.for_repository(&repo).map(|forge| &forge.name), turned.for_repository(&repo).map(|forge| &forge.name));
            prop_assert_eq!(forges.reads(&namespace, &repo).map(|(_, of)| of), turned.reads(&namespace, &repo).map(|(_, of)| of));
            for mode in Mode::ALL {
                prop_assert_eq!(forges.delivers(&namespace, &repo, mode).is_ok(), turned.delivers(&namespace, &repo, mode).is_ok());
            }
        }
    }
}
