//! Pull requests of a real forge: Gitea, as `tests/gitea.sh` runs it (`tests/cluster/prerequisites.sh gitea` builds it).

#![allow(clippy::unwrap_used, clippy::panic)] // test code that is not in a #[test]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http::Method;
use jct_domain::forge::Forges;
use jct_domain::task::Repo;
use jct_forges::{Authorization, CallError, Checks, ForgeClient, Login, NewPull, Opened, PullState, Pulls, permitted};
use serde_json::{Value, json};

/// The forge, as long as this is there.
struct Gitea {
    folder: tempfile::TempDir,
    address: String,
    program: Child,
}

impl Drop for Gitea {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

impl Gitea {
    async fn start() -> Self {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/gitea.sh");
        let folder = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let program = Command::new(script)
            .args([&folder.path().join("gitea").display().to_string(), &address])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut gitea = Self { folder, address, program };
        let until = Instant::now() + Duration::from_secs(300);
        while !gitea.path("ready").exists() {
            let log = || fs::read_to_string(gitea.folder.path().join("log")).unwrap();
            assert!(Instant::now() < until && gitea.program.try_wait().unwrap().is_none(), "no forge: {}", log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        gitea
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("gitea").join(name)
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap().trim().to_owned()
    }

    fn forges(&self) -> Forges {
        let ca = Self::read(&self.path("ca.crt"));
        let forge = json!([{
            "name": "gitea", "kind": "gitea", "repos": ["boss/"], "git": format!("https://{}/{{repo}}.git", self.address),
            "api": format!("https://{}/api/v1", self.address), "ca_bundle": ca,
        }]);
        Forges::read(&forge.to_string()).unwrap()
    }

    /// A token of this user with these scopes.
    fn token_of(&self, user: &str, scopes: &str) -> Login {
        let made = Command::new(self.path("token-of")).args([user, scopes]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        Login { username: user.into(), token }
    }

    fn boss(&self) -> Login {
        Login { username: "boss".into(), token: Self::read(&self.path("token")) }
    }
}

async fn call(client: &ForgeClient, login: &Login, method: Method, path: &str, body: Value) -> Value {
    let authorization = Authorization::bearer(&login.token).unwrap();
    let answer = client.call(method.clone(), path, Some(&authorization), Some(&body)).await.unwrap();
    assert!(answer.status.is_success(), "{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

#[tokio::test]
async fn a_pull_request_is_opened_once_and_seen_to_its_end() {
    let gitea = Gitea::start().await;
    let forges = gitea.forges();
    let (forge, boss) = (&forges.0[0], gitea.boss());
    let client = ForgeClient::new(forge).unwrap();
    let repo = Repo::parse("boss/private").unwrap();
    call(
        &client,
        &boss,
        Method::POST,
        "/user/repos",
        json!({"name": "private", "private": true, "auto_init": true, "default_branch": "main"}),
    )
    .await;
    for branch in ["jct/one-12345678", "jct/two-12345678"] {
        let file = json!({"content": "b25l", "message": "Say one", "branch": "main", "new_branch": branch});
        call(&client, &boss, Method::POST, &format!("/repos/{repo}/contents/{}", &branch[4..7]), file).await;
    }
    call(&client, &boss, Method::POST, &format!("/repos/{repo}/labels"), json!({"name": "bot", "color": "#00aabb"}))
        .await;

    // Of somebody else: nothing is there for them. Then they may write, and no more.
    let bot = gitea.token_of("bot", "write:repository,write:issue");
    let pulls = Pulls::of(&client, forge, &repo, &bot).unwrap();
    assert!(matches!(permitted(&client, forge, &repo, &bot).await, Err(CallError::Refused(_))));
    assert_eq!(pulls.find("jct/one-12345678", "main").await, Ok(None));
    call(&client, &boss, Method::PUT, &format!("/repos/{repo}/collaborators/bot"), json!({"permission": "write"}))
        .await;
    assert!(permitted(&client, forge, &repo, &bot).await.unwrap().unwrap().writes);

    let new = |head, base| NewPull {
        head,
        base,
        title: "Say one",
        body: "By an agent",
        draft: true,
        labels: Box::leak(Box::new(["bot".to_owned(), "no-such-label".to_owned()])),
        reviewers: Box::leak(Box::new(["boss".to_owned(), "nobody".to_owned()])),
    };
    let Opened { pull, notes } = pulls.open(&new("jct/one-12345678", "main")).await.unwrap();
    assert_eq!((pull.number, pull.state), (1, PullState::Open));
    assert_eq!(pull.url, format!("https://{}/boss/private/pulls/1", gitea.address));
    assert!(
        notes.iter().any(|note| note.contains("nobody")) && !notes.iter().any(|note| note.contains("boss")),
        "{notes:?}"
    );
    let shown = call(&client, &boss, Method::GET, &format!("/repos/{repo}/pulls/1"), Value::Null).await;
    assert_eq!((&shown["draft"], &shown["user"]["login"]), (&json!(true), &json!("bot")), "{shown}");
    let labels: Vec<_> = shown["labels"].as_array().unwrap().iter().map(|label| &label["name"]).collect();
    assert_eq!(labels, ["bot"], "what it knows: {notes:?}");
    assert_eq!(shown["requested_reviewers"][0]["login"], "boss", "{shown}");

    let again = pulls.open(&new("jct/one-12345678", "main")).await.unwrap();
    assert_eq!((&again.pull, again.notes.len()), (&pull, 0), "the same one");
    assert_eq!(pulls.find("jct/one", "main").await, Ok(None), "a part of a name is another");
    for (head, base) in [("jct/no-such", "main"), ("jct/two-12345678", "no-such")] {
        let refused = pulls.open(&new(head, base)).await.unwrap_err();
        assert!(!refused.is_passing(), "{refused}");
    }

    assert_eq!(pulls.checks(1, &pull.head_commit).await, Ok(Checks::None));
    let status = format!("/repos/{repo}/statuses/{}", pull.head_commit);
    for (state, expected) in [("pending", Checks::Pending), ("success", Checks::Passed), ("failure", Checks::Failed)] {
        call(&client, &boss, Method::POST, &status, json!({"state": state, "context": "ci"})).await;
        assert_eq!(pulls.checks(1, &pull.head_commit).await, Ok(expected));
    }

    let ready = json!({"title": "Say one"});
    call(&client, &boss, Method::PATCH, &format!("/repos/{repo}/pulls/1"), ready).await;
    call(&client, &boss, Method::POST, &format!("/repos/{repo}/pulls/1/merge"), json!({"Do": "merge"})).await;
    let merged = pulls.get(1).await.unwrap();
    assert_eq!((merged.state, merged.merged_by.as_deref()), (PullState::Merged, Some("boss")));
    assert!(merged.merge_commit.is_some());
    let after = pulls.open(&new("jct/one-12345678", "main")).await.unwrap();
    assert_eq!(after.pull.state, PullState::Merged, "what is merged is not opened again");
    let Opened { pull: second, .. } = pulls.open(&new("jct/two-12345678", "main")).await.unwrap();
    call(&client, &boss, Method::PATCH, &format!("/repos/{repo}/pulls/{}", second.number), json!({"state": "closed"}))
        .await;
    assert_eq!(pulls.get(second.number).await.unwrap().state, PullState::Closed);

    let reader = gitea.token_of("bot", "read:repository");
    let refused = Pulls::of(&client, forge, &repo, &reader).unwrap();
    let refused = refused.open(&new("jct/three", "main")).await.unwrap_err();
    assert!(refused.to_string().contains("may not do that (403)"), "{refused}");
}
