//! Pull requests, as GitHub and GitLab answer by their public documentation: neither was tried itself. Gitea is, in `gitea`.

#![allow(clippy::unwrap_used, clippy::panic)] // test code that is not in a #[test]

mod support;

use jct_domain::task::Repo;
use jct_forges::{CallError, Checks, ForgeClient, Login, NewPull, Opened, Pull, PullState, Pulls};
use rstest::rstest;
use serde_json::{Value, json};

use support::{Server, answer};

fn repo() -> Repo {
    Repo::parse("octo/hello-world").unwrap()
}

fn json_answer(status: &str, body: &Value) -> String {
    answer(status, "Content-Type: application/json\r\n", &body.to_string())
}

fn new<'a>(labels: &'a [String], reviewers: &'a [String]) -> NewPull<'a> {
    NewPull {
        head: "jct/x-1",
        base: "main",
        title: "Amazing new feature",
        body: "Please",
        draft: true,
        labels,
        reviewers,
    }
}

/// <https://docs.github.com/en/rest/pulls/pulls#get-a-pull-request>
fn of_github(change: Value) -> Value {
    let mut pull = json!({
        "number": 1347, "state": "open", "title": "Amazing new feature", "html_url": "https://github.com/octo/hello-world/pull/1347",
        "merged": false, "merged_at": null, "merged_by": null, "merge_commit_sha": "e5bd3914e2e596debea16f433f57875b5b90bcd6",
        "head": {"ref": "jct/x-1", "sha": "6dcb09b5b57875f334f61aebed695e2e4193db5e"}, "base": {"ref": "main"}, "draft": true,
    });
    json_patch::merge(&mut pull, &change);
    pull
}

/// <https://docs.gitlab.com/api/merge_requests/#get-single-mr>
fn of_gitlab(change: Value) -> Value {
    let mut pull = json!({
        "id": 155_016_530, "iid": 133, "state": "opened", "title": "Draft: Amazing new feature", "source_branch": "jct/x-1",
        "target_branch": "main", "sha": "8888888888888888888888888888888888888888", "merge_commit_sha": null, "merge_user": null,
        "web_url": "https://gitlab.example.com/octo/hello-world/-/merge_requests/133", "reviewers": [{"id": 7}],
        "head_pipeline": {"status": "running"},
    });
    json_patch::merge(&mut pull, &change);
    pull
}

async fn opened(server: &Server, kind: &str, labels: &[&str], reviewers: &[&str]) -> Result<Opened, CallError> {
    let forges = server.forge(kind);
    let client = ForgeClient::new(&forges.0[0]).unwrap();
    let (repo, login) = (repo(), Login { username: "bot".into(), token: "c4nary".into() });
    let [labels, reviewers] =
        [labels, reviewers].map(|all| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
    Pulls::of(&client, &forges.0[0], &repo, &login)?.open(&new(&labels, &reviewers)).await
}

/// Method, path and body of each request.
fn asked(server: &Server) -> Vec<(String, Value)> {
    let read = |(head, body): (String, String)| {
        assert!(head.contains("authorization: Bearer c4nary"), "{head}");
        let line = head.lines().next().unwrap().strip_suffix(" HTTP/1.1").unwrap().replace("/api", "");
        (line, serde_json::from_str(&body).unwrap_or_default())
    };
    server.asked().into_iter().map(read).collect()
}

#[tokio::test]
async fn github_is_asked_once_for_what_is_not_there() {
    let server = Server::answering(&[
        json_answer("200 OK", &json!([])),
        json_answer("201 Created", &of_github(json!({}))),
        json_answer("200 OK", &json!([{"name": "bot"}])),
        json_answer("201 Created", &of_github(json!({}))),
        json_answer(
            "422 Unprocessable Entity",
            &json!({"message": "Reviews may only be requested from collaborators"}),
        ),
    ])
    .await;
    let done = opened(&server, "github", &["bot"], &["ada", "nobody"]).await.unwrap();
    assert_eq!((done.pull.number, done.pull.state), (1347, PullState::Open));
    assert_eq!(done.pull.url, "https://github.com/octo/hello-world/pull/1347");
    assert_eq!(
        (done.pull.merged_by, done.pull.merge_commit),
        (None, None),
        "what it would be merged by is nothing yet"
    );
    assert_eq!(done.notes, ["it does not ask nobody for a review (422)"]);
    let pulls = "/repos/octo/hello-world/pulls";
    assert_eq!(
        asked(&server),
        [
            (format!("GET {pulls}?state=all&per_page=1&head=octo%3Ajct%2Fx-1&base=main"), Value::Null),
            (
                format!("POST {pulls}"),
                json!({"title": "Amazing new feature", "head": "jct/x-1", "base": "main", "body": "Please", "draft": true})
            ),
            ("POST /repos/octo/hello-world/issues/1347/labels".into(), json!({"labels": ["bot"]})),
            (format!("POST {pulls}/1347/requested_reviewers"), json!({"reviewers": ["ada"]})),
            (format!("POST {pulls}/1347/requested_reviewers"), json!({"reviewers": ["nobody"]})),
        ]
    );
}

#[tokio::test]
async fn gitlab_is_asked_once_for_what_is_not_there() {
    let server = Server::answering(&[
        json_answer("200 OK", &json!([])),
        json_answer("201 Created", &of_gitlab(json!({}))),
        json_answer("200 OK", &json!([{"id": 42, "username": "ada"}])),
        json_answer("200 OK", &of_gitlab(json!({}))),
        json_answer("200 OK", &of_gitlab(json!({}))),
        json_answer("200 OK", &json!([])),
    ])
    .await;
    let done = opened(&server, "gitlab", &["bot", "jct"], &["ada", "nobody"]).await.unwrap();
    assert_eq!((done.pull.number, done.pull.state, &*done.pull.head_commit), (133, PullState::Open, &*"8".repeat(40)));
    assert_eq!(done.notes, ["it knows no user nobody"]);
    let requests = "/projects/octo%2Fhello-world/merge_requests";
    let asked = asked(&server);
    assert_eq!(asked[0].0, format!("GET {requests}?per_page=1&source_branch=jct%2Fx-1&target_branch=main"));
    assert_eq!(
        asked[1],
        (
            format!("POST {requests}"),
            json!({
                "source_branch": "jct/x-1", "target_branch": "main", "title": "Draft: Amazing new feature", "description": "Please",
                "labels": "bot,jct",
            })
        )
    );
    assert_eq!(asked[2].0, "GET /users?username=ada");
    assert_eq!(
        asked[4],
        (format!("PUT {requests}/133"), json!({"reviewer_ids": [7, 42]})),
        "who is asked already stays"
    );
}

#[rstest]
#[case::open("github", of_github(json!({})), PullState::Open)]
#[case::that_somebody_closed("github", of_github(json!({"state": "closed"})), PullState::Closed)]
#[case::that_is_merged("gitlab", of_gitlab(json!({"state": "merged"})), PullState::Merged)]
#[tokio::test]
async fn one_that_is_there_is_not_opened_again(#[case] kind: &str, #[case] there: Value, #[case] state: PullState) {
    let server = Server::answering(&[json_answer("200 OK", &json!([there]))]).await;
    let done = opened(&server, kind, &["bot"], &[]).await.unwrap();
    assert_eq!((done.pull.state, asked(&server).len()), (state, 1));
}

#[rstest]
#[case("github", "422 Unprocessable Entity", of_github(json!({})), 4)]
#[case("gitlab", "409 Conflict", of_gitlab(json!({})), 3)]
#[tokio::test]
async fn one_that_came_in_between_is_taken(
    #[case] kind: &str,
    #[case] status: &str,
    #[case] there: Value,
    #[case] calls: usize,
) {
    let refused = json_answer(status, &json!({"message": "Validation Failed"}));
    let mut answers = vec![json_answer("200 OK", &json!([])), refused.clone()];
    // GitHub may mean that there are no drafts.
    answers.extend((kind == "github").then_some(refused));
    answers.push(json_answer("200 OK", &json!([there])));
    let server = Server::answering(&answers).await;
    let done = opened(&server, kind, &[], &[]).await.unwrap();
    assert_eq!((done.pull.state, asked(&server).len()), (PullState::Open, calls));
}

#[tokio::test]
async fn where_there_are_no_drafts_it_is_none() {
    let server = Server::answering(&[
        json_answer("200 OK", &json!([])),
        json_answer(
            "422 Unprocessable Entity",
            &json!({"message": "Draft pull requests are not supported in this repository."}),
        ),
        json_answer("201 Created", &of_github(json!({"draft": false}))),
    ])
    .await;
    let done = opened(&server, "github", &[], &[]).await.unwrap();
    assert_eq!(done.notes, ["the repository has no drafts: the pull request is none"]);
    assert_eq!(asked(&server)[2].1["draft"], false);
}

#[rstest]
#[case::html("200 OK", "<html>c4nary</html>", "something else than JSON", false)]
#[case::a_redirect("302 Found", "", "redirects to another place", false)]
#[case::trouble("500 Internal Server Error", "<html>", "trouble (500)", true)]
#[case::a_limit("429 Too Many Requests", "{}", "asked too often", true)]
#[case::no_right("403 Forbidden", "{}", "may not do that (403)", false)]
#[case::no_credential("401 Unauthorized", "{}", "does not take the credential", false)]
#[case::no_number(
    "200 OK",
    "[{\"state\": \"open\", \"head\": {\"ref\": \"jct/x-1\"}, \"html_url\": \"https://x/\"}]",
    "no number",
    false
)]
#[case::a_script(
    "200 OK",
    "[{\"state\": \"open\", \"number\": 1, \"head\": {\"ref\": \"jct/x-1\"}, \"html_url\": \"javascript:alert(1)\"}]",
    "no address",
    false
)]
#[tokio::test]
async fn what_it_says_instead_is_told(
    #[case] status: &str,
    #[case] body: &str,
    #[case] expected: &str,
    #[case] passes: bool,
) {
    let server = Server::answering(&[answer(status, "", body)]).await;
    let error = opened(&server, "github", &[], &[]).await.unwrap_err();
    assert!(error.to_string().contains(expected) && !error.to_string().contains("c4nary"), "{error}");
    assert_eq!((error.is_passing(), asked(&server).len()), (passes, 1), "nothing is opened then");
}

#[tokio::test]
async fn a_refusal_names_what_may_be_wrong() {
    let server = Server::answering(&[
        json_answer("200 OK", &json!([])),
        json_answer("404 Not Found", &json!({"message": "404 Project Not Found"})),
    ])
    .await;
    let error = opened(&server, "gitlab", &[], &[]).await.unwrap_err().to_string();
    assert!(error.contains("(404): is main a branch of octo/hello-world"), "{error}");
    let plain = opened(&Server::answering(&[]).await, "git", &[], &[]).await.unwrap_err();
    assert!(plain.to_string().contains("kind: git"), "{plain}");
}

#[rstest]
#[case("github", of_github(json!({"state": "closed", "merged": true, "merged_at": "2011-01-26T19:01:12Z", "merged_by": {"login": "octocat"}})), Some("octocat"))]
#[case("gitlab", of_gitlab(json!({"state": "merged", "merge_user": {"username": "DouweM"}, "merge_commit_sha": "9999999999999999999999999999999999999999"})), Some("DouweM"))]
#[tokio::test]
async fn who_merged_it_is_read(#[case] kind: &str, #[case] body: Value, #[case] by: Option<&str>) {
    let server = Server::answering(&[json_answer("200 OK", &body)]).await;
    let (forges, repo, login) = (server.forge(kind), repo(), Login { username: "bot".into(), token: "c4nary".into() });
    let client = ForgeClient::new(&forges.0[0]).unwrap();
    let pull: Pull = Pulls::of(&client, &forges.0[0], &repo, &login).unwrap().get(1).await.unwrap();
    assert_eq!((pull.state, pull.merged_by.as_deref()), (PullState::Merged, by));
    assert!(pull.merge_commit.is_some());
}

/// <https://docs.github.com/en/rest/checks/runs#list-check-runs-for-a-git-reference>
fn run(status: &str, conclusion: Option<&str>) -> Value {
    json!({"status": status, "conclusion": conclusion})
}

#[rstest]
#[case::none(json!([]), json!({"state": "pending", "total_count": 0, "statuses": []}), Checks::None)]
#[case::passed(json!([run("completed", Some("success")), run("completed", Some("skipped"))]), json!({"state": "pending", "total_count": 0, "statuses": []}), Checks::Passed)]
#[case::running(json!([run("completed", Some("success")), run("in_progress", None)]), json!({"state": "success", "total_count": 1, "statuses": [{}]}), Checks::Pending)]
#[case::failed(json!([run("queued", None), run("completed", Some("timed_out"))]), json!({"state": "success", "total_count": 1, "statuses": [{}]}), Checks::Failed)]
#[case::of_a_status(json!([]), json!({"state": "failure", "total_count": 1, "statuses": [{}]}), Checks::Failed)]
#[tokio::test]
async fn checks_are_as_bad_as_the_worst(#[case] runs: Value, #[case] status: Value, #[case] expected: Checks) {
    let server =
        Server::answering(&[json_answer("200 OK", &json!({"check_runs": runs})), json_answer("200 OK", &status)]).await;
    let (forges, repo, login) =
        (server.forge("github"), repo(), Login { username: "bot".into(), token: "c4nary".into() });
    let client = ForgeClient::new(&forges.0[0]).unwrap();
    let checks = Pulls::of(&client, &forges.0[0], &repo, &login).unwrap().checks(1, &"6".repeat(40)).await;
    assert_eq!(checks, Ok(expected));
}
