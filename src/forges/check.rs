//! Whether each credential of each forge can do what it is for, and no more: asked of the forge, nothing written.

use std::collections::BTreeSet;

use jct_forges::{ForgeClient, Login, Purpose, advertised, permitted};
use jiff::Timestamp;

use super::Credentials;
use crate::domain::forge::{Credential, Forge, Forges};
use crate::domain::task::Repo;

/// What was found of one credential at one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which forge.
    pub forge: String,
    /// What the credential is for: read or write.
    pub role: &'static str,
    /// The Secret.
    pub secret: String,
    /// Which repository was asked for; none where none is named.
    pub repo: Option<Repo>,
    /// What it may do, or why it can't.
    pub result: Result<String, String>,
    /// What is not as it should be all the same.
    pub warnings: Vec<String>,
}

/// What is said of a forge by its configuration alone.
pub fn advice(forge: &Forge) -> Vec<String> {
    let mut advice = Vec::new();
    if forge.allow_plaintext {
        advice.push("allow_plaintext: whoever is on the way reads credentials and code".to_owned());
    }
    let delivers = forge.grants.iter().any(|grant| !grant.deliver.is_empty());
    if delivers && !forge.delivery.review.required {
        advice.push(
            "delivery.review.required is false: every branch that is delivered runs the repository's pipelines, with their secrets, on \
             code that nobody has read"
                .to_owned(),
        );
    }
    if forge.read.is_some() && forge.read == forge.write {
        advice.push("read and write are one Secret: what only reads can write then".to_owned());
    }
    advice
}

impl Credentials {
    /// Tests every credential at `repos`, or, where none are given, at those that the configuration names exactly.
    pub async fn check(&self, forges: &Forges, repos: &[Repo], now: Timestamp) -> Vec<Line> {
        let mut lines = Vec::new();
        for forge in &forges.0 {
            let named: BTreeSet<Repo> = match repos {
                [] => exact(forge),
                repos => repos.iter().filter(|repo| is_of(forges, forge, repo)).cloned().collect(),
            };
            for (role, credential) in [("read", &forge.read), ("write", &forge.write)] {
                let Some(credential) = credential else { continue };
                let line = |repo: Option<&Repo>, (result, warnings)| Line {
                    forge: forge.name.clone(),
                    role,
                    secret: credential.secret.clone(),
                    repo: repo.cloned(),
                    result,
                    warnings,
                };
                if named.is_empty() {
                    lines.push(line(None, (self.secret_alone(forge, credential).await, Vec::new())));
                }
                for repo in &named {
                    lines.push(line(Some(repo), self.at(forge, credential, role == "write", repo, now).await));
                }
            }
        }
        lines
    }

    async fn secret_alone(&self, forge: &Forge, credential: &Credential) -> Result<String, String> {
        let read = self.secret(forge, credential).await.map_err(|error| error.what)?;
        drop(read);
        Ok("the Secret has what is needed; name a repository, and the forge is asked".into())
    }

    async fn at(
        &self,
        forge: &Forge,
        credential: &Credential,
        is_write: bool,
        repo: &Repo,
        now: Timestamp,
    ) -> (Result<String, String>, Vec<String>) {
        let purpose = if is_write { Purpose::Deliver } else { Purpose::Read };
        let login = match self.login(forge, credential, repo, purpose, now).await {
            Ok(login) => login,
            Err(error) => return (Err(error.what), Vec::new()),
        };
        let client = match ForgeClient::new(forge) {
            Ok(client) => client,
            Err(error) => return (Err(error), Vec::new()),
        };
        let result = asked(&client, forge, repo, &login, is_write).await;
        let mut warnings = Vec::new();
        if !is_write && result.is_ok() && advertised(&client, forge, repo, Some(&login), true).await.is_ok() {
            warnings.push("it can push as well: a credential for reading needs no more than that".to_owned());
        }
        (result, warnings)
    }
}

async fn asked(
    client: &ForgeClient,
    forge: &Forge,
    repo: &Repo,
    login: &Login,
    is_write: bool,
) -> Result<String, String> {
    let by = |what: &str| {
        let what = what.to_owned();
        move |error: jct_forges::CallError| format!("{what}: {error}")
    };
    advertised(client, forge, repo, Some(login), is_write).await.map_err(by("git"))?;
    let seen = permitted(client, forge, repo, login).await.map_err(by("api"))?;
    let git = if is_write { "git may push" } else { "git may fetch" };
    match seen {
        Some(seen) if (is_write && !seen.writes) || (!is_write && !seen.reads) => {
            Err(format!("{git}, but its API says that the credential has not the right"))
        }
        Some(_) => Ok(format!("{git}, and its API says so")),
        None => Ok(git.into()),
    }
}

fn is_of(forges: &Forges, forge: &Forge, repo: &Repo) -> bool {
    forges.for_repository(repo).is_some_and(|serving| serving.name == forge.name)
}

/// The repositories that a forge's configuration names, one by one.
fn exact(forge: &Forge) -> BTreeSet<Repo> {
    let prefixes = forge.repos.iter().chain(forge.grants.iter().flat_map(|grant| &grant.repos));
    prefixes.filter_map(|prefix| prefix.exact()).collect()
}
