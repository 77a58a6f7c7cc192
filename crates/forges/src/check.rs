//! What a credential may do: by what git is advertised, and by what the API says of a repository. Both only read.

use http::Method;
use jct_domain::forge::{Forge, Kind};
use jct_domain::task::Repo;
use jct_domain::url::percent_encoded;
use serde_json::Value;

use crate::client::{Authorization, CallError, ForgeClient};
use crate::credential::Login;

/// The least that a GitLab member may push with: Developer.
/// <https://docs.gitlab.com/api/access_requests/#valid-access-levels>
const GITLAB_DEVELOPER: i64 = 30;

/// What a forge says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether it may be fetched from.
    pub reads: bool,
    /// Whether it may be pushed to.
    pub writes: bool,
}

/// What git is advertised: what a fetch or a push begins with (<https://git-scm.com/docs/http-protocol>), and no more of it.
///
/// # Errors
/// If the forge refuses, or is no server of git.
pub async fn advertised(
    client: &ForgeClient,
    forge: &Forge,
    repo: &Repo,
    login: Option<&Login>,
    to_push: bool,
) -> Result<(), CallError> {
    let service = if to_push { "git-receive-pack" } else { "git-upload-pack" };
    let url = format!("{}/info/refs?service={service}", forge.git_url(repo));
    let login = login.map(|Login { username, token }| Authorization::basic(username, token)).transpose()?;
    let answer = client.get(&url, login.as_ref()).await?;
    if !answer.status.is_success() {
        return Err(answer.unexpected());
    }
    let media_type = answer.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match media_type {
        Some(found) if found == format!("application/x-{service}-advertisement") => Ok(()),
        _ => Err(CallError::Refused("it is no server of git: is git its address?".into())),
    }
}

/// What the API says that the credential may do with a repository; nothing of a forge without one.
///
/// # Errors
/// If it refuses, or says nothing of that.
pub async fn permitted(
    client: &ForgeClient,
    forge: &Forge,
    repo: &Repo,
    login: &Login,
) -> Result<Option<Seen>, CallError> {
    let path = match forge.kind {
        Kind::Git => return Ok(None),
        Kind::Gitlab => format!("/projects/{}", percent_encoded(repo.as_str().as_bytes(), b"-._~")),
        Kind::Github | Kind::Gitea => format!("/repos/{repo}"),
    };
    let answer = client.call(Method::GET, &path, Some(&Authorization::bearer(&login.token)?), None).await?;
    if !answer.status.is_success() {
        return Err(answer.unexpected());
    }
    let seen = seen(forge.kind, &answer.json()?);
    seen.map(Some).ok_or_else(|| CallError::Refused("its API does not say what the credential may do".into()))
}

fn seen(kind: Kind, repository: &Value) -> Option<Seen> {
    let permissions = repository.get("permissions")?;
    match kind {
        // https://docs.gitlab.com/api/projects/#retrieve-a-project
        Kind::Gitlab => {
            let level = |of: &str| permissions[of]["access_level"].as_i64().unwrap_or(0);
            let level = level("project_access").max(level("group_access"));
            Some(Seen { reads: true, writes: level >= GITLAB_DEVELOPER })
        }
        // https://docs.github.com/en/rest/repos/repos#get-a-repository, https://docs.gitea.com/api/
        _ => Some(Seen { reads: permissions["pull"].as_bool()?, writes: permissions["push"].as_bool()? }),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(Kind::Github, json!({"permissions": {"admin": false, "push": false, "pull": true}}), Some((true, false)))]
    #[case(Kind::Gitea, json!({"permissions": {"admin": false, "push": true, "pull": true}}), Some((true, true)))]
    #[case(Kind::Gitlab, json!({"permissions": {"project_access": {"access_level": 20}, "group_access": null}}), Some((true, false)))]
    #[case(Kind::Gitlab, json!({"permissions": {"project_access": null, "group_access": {"access_level": 40}}}), Some((true, true)))]
    #[case(Kind::Github, json!({"full_name": "a/b"}), None)]
    fn what_an_api_says_of_a_repository(
        #[case] kind: Kind,
        #[case] answer: Value,
        #[case] expected: Option<(bool, bool)>,
    ) {
        assert_eq!(seen(kind, &answer).map(|seen| (seen.reads, seen.writes)), expected);
    }
}
