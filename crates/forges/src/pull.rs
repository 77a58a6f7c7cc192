//! Pull requests (of GitLab: merge requests): found, opened once, and looked at. The only part that writes.
//!
//! One of a head and a base is never opened twice: what is there is looked for before, and again when the forge says that it has one.

use http::{Method, StatusCode};
use jct_domain::forge::{Forge, Kind};
use jct_domain::task::Repo;
use jct_domain::url::percent_encoded;
use serde_json::{Value, json};

use crate::client::{Answer, Authorization, CallError, ForgeClient};
use crate::credential::Login;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct NewPull<'a> {
    /// The branch that was pushed.
    pub head: &'a str,
    /// The branch that it is to be merged into.
    pub base: &'a str,
    /// One line.
    pub title: &'a str,
    /// Markdown.
    pub body: &'a str,
    /// Whether it is not ready to be merged.
    pub draft: bool,
    /// Labels by name.
    pub labels: &'a [String],
    /// Users of the forge who are asked to look.
    pub reviewers: &'a [String],
}

/// How a pull request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullState {
    /// It can be merged, or will be.
    Open,
    /// Somebody closed it without that.
    Closed,
    /// It is part of its base.
    Merged,
}

/// A pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// By which people call it.
    pub number: u64,
    /// Its page.
    pub url: String,
    /// How it stands.
    pub state: PullState,
    /// The commit at its head.
    pub head_commit: String,
    /// Who merged it, where the forge says so.
    pub merged_by: Option<String>,
    /// The commit by which it was merged, likewise.
    pub merge_commit: Option<String>,
}

/// How the checks of a commit stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// There are none.
    None,
    /// Some have not ended.
    Pending,
    /// All that have to pass have passed.
    Passed,
    /// One has failed.
    Failed,
}

/// What a pull request was opened with, and what the forge would not do besides, in sentences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// It.
    pub pull: Pull,
    /// Such as a reviewer whom the forge does not know.
    pub notes: Vec<String>,
}

/// The pull requests of one repository, as one login sees them.
pub struct Pulls<'a> {
    client: &'a ForgeClient,
    kind: Kind,
    repo: &'a Repo,
    authorization: Authorization,
}

impl<'a> Pulls<'a> {
    /// Those of `repo`.
    ///
    /// # Errors
    /// If the forge has none, or the token can't stand in a header.
    pub fn of(client: &'a ForgeClient, forge: &Forge, repo: &'a Repo, login: &Login) -> Result<Self, CallError> {
        if forge.kind == Kind::Git {
            return Err(CallError::Refused("it has no pull requests (kind: git)".into()));
        }
        Ok(Self { client, kind: forge.kind, repo, authorization: Authorization::bearer(&login.token)? })
    }

    /// The one from `head` to `base`, whatever its state; the newest, if there are several.
    ///
    /// # Errors
    /// If the forge does not answer, or not as one.
    pub async fn find(&self, head: &str, base: &str) -> Result<Option<Pull>, CallError> {
        let path = match self.kind {
            // https://docs.github.com/en/rest/pulls/pulls#list-pull-requests
            Kind::Github => {
                let owner = self.repo.as_str().split('/').next().unwrap_or_default();
                let head = encoded(&format!("{owner}:{head}"));
                format!("{}/pulls?state=all&per_page=1&head={head}&base={}", self.path(), encoded(base))
            }
            // https://docs.gitlab.com/api/merge_requests/#list-project-merge-requests
            Kind::Gitlab => format!(
                "{}/merge_requests?per_page=1&source_branch={}&target_branch={}",
                self.path(),
                encoded(head),
                encoded(base)
            ),
            // https://docs.gitea.com/api/#tag/repository/operation/repoGetPullRequestByBaseHead
            _ => format!("{}/pulls/{}/{}", self.path(), encoded(base), encoded_path(head)),
        };
        let answer = self.call(Method::GET, &path, None).await?;
        if answer.status == StatusCode::NOT_FOUND && self.kind == Kind::Gitea {
            return Ok(None);
        }
        let body = expect(&answer, &[200])?;
        let found = if self.kind == Kind::Gitea { Some(&body) } else { body.as_array().and_then(|all| all.first()) };
        match found {
            Some(found) if self.head_of(found) == Some(head) => self.read(found).map(Some),
            // GitHub leaves out a filter that it does not understand.
            _ => Ok(None),
        }
    }

    /// The one of this number.
    ///
    /// # Errors
    /// As [`Pulls::find`].
    pub async fn get(&self, number: u64) -> Result<Pull, CallError> {
        let answer = self.call(Method::GET, &self.one(number), None).await?;
        self.read(&expect(&answer, &[200])?)
    }

    /// Opens one, unless there is one of this head and base, whatever became of it.
    ///
    /// # Errors
    /// As [`Pulls::find`], and if the forge refuses.
    pub async fn open(&self, new: &NewPull<'_>) -> Result<Opened, CallError> {
        if let Some(pull) = self.find(new.head, new.base).await? {
            return Ok(Opened { pull, notes: Vec::new() });
        }
        let mut notes = Vec::new();
        let mut answer = self.create(new, new.draft).await?;
        if answer.status == StatusCode::UNPROCESSABLE_ENTITY && new.draft && self.kind == Kind::Github {
            // Private repositories of some plans have no drafts: https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request
            answer = self.create(new, false).await?;
            if answer.status == StatusCode::CREATED {
                notes.push("the repository has no drafts: the pull request is none".into());
            }
        }
        if [StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY].contains(&answer.status)
            && let Some(pull) = self.find(new.head, new.base).await?
        {
            return Ok(Opened { pull, notes: Vec::new() });
        }
        if [400, 404, 409, 422].contains(&answer.status.as_u16()) {
            let message = format!(
                "it opens no pull request ({}): is {} a branch of {}, from which {} differs, and may the credential open one?",
                answer.status.as_u16(),
                new.base,
                self.repo,
                new.head
            );
            return Err(CallError::Refused(message));
        }
        let pull = self.read(&expect(&answer, &[201])?)?;
        self.dress(new, &pull, &mut notes).await?;
        Ok(Opened { pull, notes })
    }

    async fn create(&self, new: &NewPull<'_>, draft: bool) -> Result<Answer, CallError> {
        let (path, body) = match self.kind {
            Kind::Github => (
                format!("{}/pulls", self.path()),
                json!({"title": new.title, "head": new.head, "base": new.base, "body": new.body, "draft": draft}),
            ),
            // https://docs.gitlab.com/api/merge_requests/#create-mr; https://docs.gitlab.com/user/project/merge_requests/drafts/
            Kind::Gitlab => (
                format!("{}/merge_requests", self.path()),
                json!({
                    "source_branch": new.head, "target_branch": new.base, "title": marked("Draft: ", new.title, draft),
                    "description": new.body, "labels": new.labels.join(","),
                }),
            ),
            // https://docs.gitea.com/usage/pull-request#work-in-progress-pull-requests
            _ => (
                format!("{}/pulls", self.path()),
                json!({"title": marked("WIP: ", new.title, draft), "head": new.head, "base": new.base, "body": new.body}),
            ),
        };
        self.call(Method::POST, &path, Some(&body)).await
    }

    /// Labels and reviewers: what the forge does not take of them is noted, and the pull request is there all the same.
    async fn dress(&self, new: &NewPull<'_>, pull: &Pull, notes: &mut Vec<String>) -> Result<(), CallError> {
        let number = pull.number;
        // GitLab has them already.
        let labels = if self.kind == Kind::Gitlab { &[] } else { new.labels };
        for label in labels {
            // https://docs.github.com/en/rest/issues/labels#add-labels-to-an-issue; Gitea takes names likewise, and of several none
            // if it does not know one.
            let path = format!("{}/issues/{number}/labels", self.path());
            let answer = self.call(Method::POST, &path, Some(&json!({"labels": [label]}))).await?;
            note(&answer, notes, || format!("it does not set the label {label}"))?;
        }
        for reviewer in new.reviewers {
            let answer = match self.kind {
                Kind::Gitlab => self.ask_of_gitlab(number, reviewer).await?,
                // https://docs.github.com/en/rest/pulls/review-requests#request-reviewers-for-a-pull-request; Gitea likewise.
                _ => {
                    let path = format!("{}/requested_reviewers", self.one(number));
                    Some(self.call(Method::POST, &path, Some(&json!({"reviewers": [reviewer]}))).await?)
                }
            };
            match answer {
                Some(answer) => note(&answer, notes, || format!("it does not ask {reviewer} for a review"))?,
                None => notes.push(format!("it knows no user {reviewer}")),
            }
        }
        Ok(())
    }

    /// GitLab takes reviewers by their ids alone, all at once: those who are asked already stay.
    async fn ask_of_gitlab(&self, number: u64, reviewer: &str) -> Result<Option<Answer>, CallError> {
        // https://docs.gitlab.com/api/users/#list-users
        let answer = self.call(Method::GET, &format!("/users?username={}", encoded(reviewer)), None).await?;
        let Some(id) = expect(&answer, &[200])?[0]["id"].as_u64() else { return Ok(None) };
        let there = self.call(Method::GET, &self.one(number), None).await?;
        let there = expect(&there, &[200])?;
        let there = there["reviewers"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_u64());
        let ids: Vec<u64> = there.filter(|one| *one != id).chain([id]).collect();
        // https://docs.gitlab.com/api/merge_requests/#update-mr
        self.call(Method::PUT, &self.one(number), Some(&json!({"reviewer_ids": ids}))).await.map(Some)
    }

    /// How the checks of `commit` stand, which is the head of the pull request with this number.
    ///
    /// # Errors
    /// As [`Pulls::find`].
    pub async fn checks(&self, number: u64, commit: &str) -> Result<Checks, CallError> {
        let get = async |path: String| {
            let answer = self.call(Method::GET, &path, None).await?;
            expect(&answer, &[200])
        };
        match self.kind {
            // https://docs.gitlab.com/api/merge_requests/#get-single-mr
            Kind::Gitlab => {
                let found = get(self.one(number)).await?;
                Ok(of_pipeline(found["head_pipeline"]["status"].as_str()))
            }
            // https://docs.github.com/en/rest/checks/runs#list-check-runs-for-a-git-reference and
            // https://docs.github.com/en/rest/commits/statuses#get-the-combined-status-for-a-specific-reference
            Kind::Github => {
                let runs = get(format!("{}/commits/{commit}/check-runs?per_page=100", self.path())).await?;
                let status = get(format!("{}/commits/{commit}/status", self.path())).await?;
                let runs = runs["check_runs"].as_array().cloned().unwrap_or_default();
                let runs = runs.iter().map(|run| of_check_run(run["status"].as_str(), run["conclusion"].as_str()));
                Ok(together(runs.chain([of_status(&status)])))
            }
            // https://docs.gitea.com/api/#tag/repository/operation/repoGetCombinedStatusByRef
            _ => Ok(of_status(&get(format!("{}/commits/{commit}/status", self.path())).await?)),
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, CallError> {
        self.client.call(method, path, Some(&self.authorization), body).await
    }

    fn path(&self) -> String {
        match self.kind {
            Kind::Gitlab => format!("/projects/{}", encoded(self.repo.as_str())),
            _ => format!("/repos/{}", self.repo),
        }
    }

    fn one(&self, number: u64) -> String {
        match self.kind {
            Kind::Gitlab => format!("{}/merge_requests/{number}", self.path()),
            _ => format!("{}/pulls/{number}", self.path()),
        }
    }

    fn head_of<'v>(&self, pull: &'v Value) -> Option<&'v str> {
        match self.kind {
            Kind::Gitlab => pull["source_branch"].as_str(),
            _ => pull["head"]["ref"].as_str(),
        }
    }

    fn read(&self, pull: &Value) -> Result<Pull, CallError> {
        let is_gitlab = self.kind == Kind::Gitlab;
        let [number, url, head, merger] = match is_gitlab {
            true => ["/iid", "/web_url", "/sha", "/merge_user/username"],
            false => ["/number", "/html_url", "/head/sha", "/merged_by/login"],
        };
        let text = |at: &str| pull.pointer(at).and_then(Value::as_str).map(str::to_owned);
        let wrong = |what: &str| CallError::Refused(format!("its pull request has no {what}: is api its API?"));
        // A list of GitHub's says when, and one by itself whether.
        let is_merged = pull["merged"].as_bool().unwrap_or_else(|| !pull["merged_at"].is_null());
        let state = match text("/state").as_deref() {
            Some("merged") => PullState::Merged,
            Some("open" | "opened" | "locked") => PullState::Open,
            Some("closed") if is_merged => PullState::Merged,
            Some("closed") => PullState::Closed,
            _ => return Err(wrong("state")),
        };
        let url = text(url).filter(|url| url.starts_with("https://") || url.starts_with("http://"));
        Ok(Pull {
            number: pull.pointer(number).and_then(Value::as_u64).ok_or_else(|| wrong("number"))?,
            url: url.ok_or_else(|| wrong("address"))?,
            state,
            head_commit: text(head).unwrap_or_default(),
            merged_by: text(merger).filter(|_| state == PullState::Merged),
            merge_commit: text("/merge_commit_sha").filter(|_| state == PullState::Merged),
        })
    }
}

fn marked(mark: &str, title: &str, draft: bool) -> String {
    if draft { format!("{mark}{title}") } else { title.to_owned() }
}

fn expect(answer: &Answer, good: &[u16]) -> Result<Value, CallError> {
    if good.contains(&answer.status.as_u16()) { answer.json() } else { Err(answer.unexpected()) }
}

/// What is wrong with the request is noted; what is wrong with the forge is tried again.
fn note(answer: &Answer, notes: &mut Vec<String>, what: impl Fn() -> String) -> Result<(), CallError> {
    if answer.status.is_success() {
        return Ok(());
    }
    match answer.unexpected() {
        error if error.is_passing() => Err(error),
        _ => {
            notes.push(format!("{} ({})", what(), answer.status.as_u16()));
            Ok(())
        }
    }
}

fn of_pipeline(status: Option<&str>) -> Checks {
    match status {
        None => Checks::None,
        Some("success" | "skipped") => Checks::Passed,
        Some("failed" | "canceled") => Checks::Failed,
        Some(_) => Checks::Pending,
    }
}

fn of_check_run(status: Option<&str>, conclusion: Option<&str>) -> Checks {
    match (status, conclusion) {
        (Some("completed"), Some("success" | "neutral" | "skipped")) => Checks::Passed,
        (Some("completed"), _) => Checks::Failed,
        _ => Checks::Pending,
    }
}

fn of_status(combined: &Value) -> Checks {
    let none = combined["total_count"] == 0 || combined["statuses"].as_array().is_none_or(Vec::is_empty);
    match combined["state"].as_str() {
        _ if none => Checks::None,
        Some("success" | "warning") => Checks::Passed,
        Some("failure" | "error") => Checks::Failed,
        _ => Checks::Pending,
    }
}

/// The worst of them.
fn together(all: impl Iterator<Item = Checks>) -> Checks {
    let rank = |checks: &Checks| match checks {
        Checks::None => 0,
        Checks::Passed => 1,
        Checks::Pending => 2,
        Checks::Failed => 3,
    };
    all.max_by_key(rank).unwrap_or(Checks::None)
}

fn encoded(text: &str) -> String {
    percent_encoded(text.as_bytes(), b"-._~")
}

fn encoded_path(text: &str) -> String {
    percent_encoded(text.as_bytes(), b"-._~/")
}
