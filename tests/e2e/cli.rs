//! `kubectl jct`, as people with different ways to sign in run it: in its own process, through kubectl where that finds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use kube::config::{AuthInfo, Kubeconfig};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{NORMAL, Repository, World, kubectl, run, setting, token, until};

/// Somebody at a terminal: their kubeconfig, and a folder of their own.
pub struct Person {
    folder: tempfile::TempDir,
    namespace: String,
    more: Vec<String>,
}

struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Person {
    /// Somebody who signs in like this.
    pub fn new(world: &World, signs_in: impl FnOnce(&Path) -> AuthInfo) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut kubeconfig = Kubeconfig::read_from(setting("JCT_E2E_KUBECONFIG")).unwrap();
        let auth = signs_in(folder.path());
        for named in &mut kubeconfig.auth_infos {
            named.auth_info = Some(auth.clone());
        }
        fs::write(folder.path().join("config"), serde_yaml::to_string(&kubeconfig).unwrap()).unwrap();
        Self { folder, namespace: world.namespace.clone(), more: Vec::new() }
    }

    /// Somebody with a client certificate of the cluster's CA, for this name and group.
    fn with_certificate(world: &World, user: &str, group: &str) -> Self {
        let ca = PathBuf::from(setting("JCT_E2E_STATE")).join("pki");
        Self::new(world, |folder| {
            let openssl = |args: &str| {
                let args: Vec<&str> = args.split(' ').collect();
                let done = std::process::Command::new("openssl").args(&args).current_dir(folder).output().unwrap();
                assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
            };
            let ca = ca.display();
            openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
            openssl(&format!("req -new -key key.pem -subj /O={group}/CN={user} -out request.pem"));
            fs::write(folder.join("extensions"), "extendedKeyUsage=clientAuth\n").unwrap();
            openssl(&format!(
                "x509 -req -in request.pem -CA {ca}/ca.crt -CAkey {ca}/ca.key -days 1 -extfile extensions -out certificate.pem"
            ));
            let path = |name: &str| Some(folder.join(name).display().to_string());
            AuthInfo { client_certificate: path("certificate.pem"), client_key: path("key.pem"), ..AuthInfo::default() }
        })
    }

    fn jct(&self, args: &[&str]) -> Command {
        // Beside the tests, where Cargo puts programs.
        let tests = std::env::current_exe().unwrap();
        let mut command = Command::new(tests.parent().unwrap().parent().unwrap().join("kubectl-jct"));
        command.args(args).args(&self.more).arg("--namespace").arg(&self.namespace);
        command.env("KUBECONFIG", self.folder.path().join("config")).env_remove("NO_COLOR");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn run(&self, args: &[&str]) -> Done {
        let Output { status, stdout, stderr } = self.jct(args).output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Done { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    /// Runs a command that must end so; its output.
    pub async fn expect(&self, code: i32, args: &[&str]) -> String {
        let done = self.run(args).await;
        assert_eq!(done.code, code, "{args:?}: {}\n{}", done.out, done.err);
        done.out + &done.err
    }
}

/// That this user may do so by now.
async fn may(user: &str, namespace: &str, args: &[&str]) {
    let question = [&["auth", "can-i", "--as", user, "--namespace", namespace], args].concat();
    until("the right to be known", async || run("kubectl", &question, "").await).await;
}

#[tokio::test]
async fn a_person_with_a_client_certificate_asks_follows_and_reads() {
    let world = World::shared("cli-certificate").await;
    let ada = Person::with_certificate(&world, "ada@certificates", "makers");
    world.allow("ada@certificates").await;
    // No right at all in the operator's namespace: through the API server's proxy.
    let question = ["auth", "can-i", "list", "pods", "--namespace=jct-system", "--as=ada@certificates"];
    assert!(run("kubectl", &question, "").await.is_err());

    let objective = "--objective=Where is the bulk of it?";
    let repo = format!("--repo={NORMAL}");
    let asked = ["run", &repo, "--operation=analysis", objective, "--name=analysis"];
    let reported = ada.expect(0, &asked).await;
    for part in ["source fetched", "attempt ended", "completed after", "report.md", "sealed as"] {
        assert!(reported.contains(part), "{part}: {reported}");
    }
    assert!(!reported.contains('\u{1b}'), "no colours but on a terminal: {reported}");
    let task: Value = serde_json::from_str(&ada.expect(0, &["get", "analysis", "-o", "json"]).await).unwrap();
    assert_eq!(task["submitted_by"], json!("ada@certificates"));
    assert_eq!(ada.expect(0, &["list", "-o", "name"]).await, "task.jct.dev/analysis\n");
    let report = ada.expect(0, &["report", "analysis"]).await;
    assert!(report.contains("Analysis of") && !report.contains("|---|"), "{report}");
    let why = ada.expect(0, &["why", "task/analysis"]).await;
    for part in ["submitted by ada@certificates", "gate", "attempt", "Job", "report.md", "outcome", "queued -> running"]
    {
        assert!(why.contains(part), "{part}: {why}");
    }
    assert!(ada.expect(0, &["logs", "analysis"]).await.contains("executor_ended"));
    assert!(ada.expect(0, &["trace", "ls", "analysis"]).await.contains("artifacts/report.md"));
    assert!(ada.expect(0, &["trace", "cat", "analysis", "task.json"]).await.contains("Where is the bulk of it?"));
    let verified = ada.expect(0, &["trace", "verify", "analysis"]).await;
    assert!(verified.contains("signed by") && verified.ends_with("good\n"), "{verified}");
    let folder = ada.folder.path().join("traces");
    fs::create_dir(&folder).unwrap();
    ada.expect(0, &["trace", "download", "analysis", "--directory", &folder.display().to_string()]).await;
    assert!(folder.join("analysis-1/manifest.json").exists() && folder.join("analysis-1/artifacts/report.md").exists());

    let denied = ada.expect(3, &["run", "--repo=elsewhere/secrets", "--operation=analysis", objective]).await;
    assert!(denied.contains("spec.target.repo: REPO_NOT_ALLOWED"), "{denied}");
    let ended = ada.expect(2, &["cancel", "analysis"]).await;
    assert!(ended.contains("has ended as completed"), "{ended}");
    assert!(ada.expect(2, &["get", "no-such-task"]).await.contains("there is no Task no-such-task"));
    let audit = ada.expect(2, &["audit"]).await;
    assert!(audit.contains("may not list auditentries.jct.dev"), "{audit}");
    // The command may be gone before its Session is.
    until("no Session to be left", async || {
        let left = kubectl(&["get", "sessions", "--namespace", &world.namespace, "-o", "name"]).await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn a_service_account_gets_its_outcomes_as_exit_codes() {
    let world = World::shared("cli-account").await;
    let token = token(&world.namespace, "ci", "").await;
    let user = format!("system:serviceaccount:{}:ci", world.namespace);
    world.allow(&user).await;
    // By a port-forward: it may.
    let name = format!("forward-{}", world.namespace);
    let role = [
        "create",
        "role",
        &name,
        "--namespace=jct-system",
        "--verb=get,list,create",
        "--resource=pods,pods/portforward",
    ];
    kubectl(&role).await;
    let account = format!("--serviceaccount={}:ci", world.namespace);
    let binding = ["create", "rolebinding", &name, "--namespace=jct-system", &format!("--role={name}"), &account];
    kubectl(&binding).await;
    may(&user, "jct-system", &["create", "pods/portforward"]).await;
    let ci = Person::new(&world, |_| AuthInfo { token: Some(token.into()), ..AuthInfo::default() });

    let repository = Repository::new("demo/cli-change");
    let files = [crate::support::Entry::file("README.md", "one\n")];
    let commit = repository.commit("main", "Begin", &files);
    let patch = "diff --git a/README.md b/README.md\n--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-one\n+two\n";
    fs::write(ci.folder.path().join("x.patch"), patch).unwrap();
    let input = format!("--input=patch=@{}", ci.folder.path().join("x.patch").display());
    let change =
        ["run", "--repo=demo/cli-change", "--operation=code-change", "--objective=Say two", "--name=change", &input];
    let reported = ci.expect(0, &change).await;
    assert!(reported.contains("kubectl jct diff"), "{reported}");
    let diff = ci.expect(0, &["diff", "change"]).await;
    assert!(diff.contains("-one\n+two\n"), "{diff}");
    let coloured = ci.expect(0, &["diff", "change", "--color=always"]).await;
    assert!(coloured.contains("\u{1b}[32m+two\u{1b}[0m"), "{coloured}");
    let checkout = ci.folder.path().join("checkout");
    let git = std::process::Command::new("git")
        .args(["clone", "--quiet", &format!("{}/demo/cli-change.git", setting("JCT_E2E_REPOSITORIES"))])
        .arg(&checkout)
        .status();
    assert!(git.unwrap().success() && commit.len() == 40);
    let apply = |folder: PathBuf| {
        let mut command = ci.jct(&["diff", "change", "--apply"]);
        command.current_dir(folder);
        command
    };
    assert_eq!(apply(checkout.clone()).status().await.unwrap().code(), Some(0));
    assert_eq!(fs::read_to_string(checkout.join("README.md")).unwrap(), "two\n");
    assert_eq!(apply(checkout.clone()).status().await.unwrap().code(), Some(1), "it is there already");
    assert_eq!(apply(ci.folder.path().to_owned()).status().await.unwrap().code(), Some(2), "no checkout");

    let repo = format!("--repo={NORMAL}");
    let with = |executor: &'static str, name: &'static str| {
        let all = ["run", &repo, "--operation=analysis", "--objective=Look around"];
        all.into_iter().map(str::to_owned).chain([format!("--executor={executor}"), format!("--name={name}")]).collect()
    };
    let failing: Vec<String> = with("failing", "failing");
    let failed = ci.expect(1, &failing.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(failed.contains("ExecutorFailed") && failed.contains("kubectl jct retry"), "{failed}");
    let again = ci.expect(0, &["retry", "failing", "--no-follow", "-o", "name"]).await;
    assert!(again.contains("in place of failing"), "{again}");

    let endless: Vec<String> = with("endless", "endless");
    let running =
        ci.jct(&endless.iter().map(String::as_str).collect::<Vec<_>>()).stdout(Stdio::piped()).spawn().unwrap();
    until("the Task to be there", async || world.tasks().get("endless").await.map_err(|error| error.to_string())).await;
    world.wait_for("endless", "Running").await;
    assert!(ci.expect(0, &["cancel", "endless", "--wait"]).await.contains("is cancelled"));
    let followed = running.wait_with_output().await.unwrap();
    assert_eq!(
        followed.status.code(),
        Some(130),
        "who follows it is told: {}",
        String::from_utf8_lossy(&followed.stdout)
    );
    kubectl(&["delete", "rolebinding,role", &name, "--namespace=jct-system"]).await;
}

/// As an OIDC provider's users come: by a name, and groups that alone have the rights.
#[tokio::test]
async fn the_groups_of_a_person_decide() {
    let world = World::shared("cli-groups").await;
    let binding = ["--clusterrole=edit", "--group=oidc:developers", "--namespace", &world.namespace];
    kubectl(&[["create", "rolebinding", "developers"].as_slice(), &binding].concat()).await;
    may("oidc:grace", &world.namespace, &["create", "tasks.jct.dev", "--as-group=oidc:developers"]).await;
    let admin = Kubeconfig::read_from(setting("JCT_E2E_KUBECONFIG")).unwrap().auth_infos.remove(0).auth_info.unwrap();
    let mut grace = Person::new(&world, |_| admin);
    grace.more = ["--as=oidc:grace", "--as-group=oidc:developers"].map(str::to_owned).to_vec();
    let repo = format!("--repo={NORMAL}");
    let reported =
        grace.expect(0, &["run", &repo, "--operation=analysis", "--objective=Look around", "--name=mine"]).await;
    assert!(reported.contains("completed after"), "{reported}");
    assert!(grace.expect(0, &["why", "mine"]).await.contains("submitted by oidc:grace"));
    grace.more = ["--as=oidc:grace", "--as-group=oidc:guests"].map(str::to_owned).to_vec();
    let reported = grace.expect(2, &["get", "mine"]).await;
    assert!(reported.contains("forbidden"), "{reported}");
}

#[tokio::test]
async fn the_doctor_finds_an_installation_that_is_well() {
    let world = World::shared("cli-doctor").await;
    let ada = Person::with_certificate(&world, "doctor@certificates", "makers");
    world.allow("doctor@certificates").await;
    let found = ada.expect(0, &["doctor"]).await;
    let of = |name: &str| found.lines().find(|line| line.split_whitespace().nth(1) == Some(name)).unwrap_or_default();
    for name in ["API", "definitions", "webhook", "session"] {
        assert!(of(name).starts_with("ok"), "{name}: {found}");
    }
    assert!(of("inside").starts_with("skipped") && found.contains("jct-diagnostics"), "{found}");
    let binding = [
        "create",
        "clusterrolebinding",
        "jct-e2e-doctor",
        "--clusterrole=jct-diagnostics",
        "--user=doctor@certificates",
    ];
    let _ = run("kubectl", &binding, "").await;
    // A refusal from before the binding is believed for a while.
    until("the operator to tell of itself", async || {
        let found = ada.expect(0, &["doctor"]).await;
        if found.contains("signing keys") { Ok(()) } else { Err(found) }
    })
    .await;
    let _ = run("kubectl", &["delete", "clusterrolebinding", "jct-e2e-doctor"], "").await;
}

/// Where no webhook says who makes it, and with a key of which everybody knows the secret.
#[tokio::test]
async fn a_session_that_nobody_vouches_for_gets_no_token() {
    let world = World::shared("cli-sessions").await;
    let good = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
    let weak = format!("{}=", "A".repeat(43));
    let name = world.namespace.clone();
    for (namespace, key, reason) in [
        ("jct-system", good, "Unsealed"),
        (&*world.namespace, &*weak, "InvalidKey"),
        (&*world.namespace, good, "Issued"),
    ] {
        let forged = json!({"jct.dev/submitted-by": "root", "jct.dev/submitted-by-groups": "[\"system:masters\"]"});
        let session = json!({
            "apiVersion": "jct.dev/v1", "kind": "Session", "spec": {"publicKey": key},
            "metadata": {"name": name, "namespace": namespace, "annotations": forged},
        });
        run("kubectl", &["create", "-f", "-"], &session.to_string()).await.unwrap();
        let get = ["get", "session", &name, "--namespace", namespace, "--output=json"];
        let status = until("an answer", async || {
            let session: Value = serde_json::from_str(&kubectl(&get).await).unwrap();
            if session["status"].is_null() { Err(session.to_string()) } else { Ok(session["status"].clone()) }
        })
        .await;
        assert_eq!(status["conditions"][0]["reason"], json!(reason), "{status}");
        assert_eq!(status["encryptedToken"].is_string(), reason == "Issued", "{status}");
        let user = if reason == "Issued" { json!("admin") } else { Value::Null };
        assert_eq!(status["user"], user, "{status}");
        kubectl(&["delete", "session", &name, "--namespace", namespace]).await;
    }
}

/// The console through a port-forward: a link signs in, once; what it shows is of that person; and when the command ends so does that.
#[tokio::test]
async fn the_console_opens_signed_in() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let world = World::shared("cli-console").await;
    let token = token(&world.namespace, "viewer", "").await;
    let user = format!("system:serviceaccount:{}:viewer", world.namespace);
    world.allow(&user).await;
    let name = format!("console-{}", world.namespace);
    let verbs = ["--verb=get,list,create", "--resource=pods,pods/portforward"];
    kubectl(&[["create", "role", &name, "--namespace=jct-system"].as_slice(), &verbs].concat()).await;
    let account = format!("--serviceaccount={}:viewer", world.namespace);
    let role = format!("--role={name}");
    kubectl(&["create", "rolebinding", &name, "--namespace=jct-system", &role, &account]).await;
    may(&user, "jct-system", &["create", "pods/portforward"]).await;
    let viewer = Person::new(&world, |_| AuthInfo { token: Some(token.into()), ..AuthInfo::default() });
    let asked = ["run", &format!("--repo={NORMAL}"), "--operation=analysis", "--objective=Look around", "--name=seen"];
    viewer.expect(0, &asked).await;

    let mut console = viewer.jct(&["console", "--url"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(console.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(std::time::Duration::from_secs(60), lines.next_line()).await.unwrap().unwrap();
    let link = line.expect("a link");
    let (page, code) = link.split_once("#code=").expect("a code in the fragment");
    let origin = page.strip_suffix("/console/sign-in").unwrap();
    let curl = async |args: &[&str]| {
        let all = [["--silent", "--show-error", "--include"].as_slice(), args].concat();
        run("curl", &all, "").await.unwrap()
    };
    let (from, form, to) = (format!("Origin: {origin}"), format!("code={code}"), format!("{page}/code"));
    let exchange = ["--header", from.as_str(), "--data", form.as_str(), to.as_str()];
    let signed_in = curl(&exchange).await;
    let cookie = signed_in.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect(&signed_in);
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    assert!(curl(&exchange).await.starts_with("HTTP/1.1 403"), "once");
    let tasks = format!("{origin}/console/tasks");
    let shown = curl(&["--header", cookie.as_str(), tasks.as_str()]).await;
    assert!(shown.contains(">seen</a>") && shown.contains(&user), "{shown}");

    let session = async || kubectl(&["get", "sessions", "--namespace", &world.namespace, "-o", "name"]).await;
    assert!(!session().await.is_empty(), "the control");
    let pid = i32::try_from(console.id().unwrap()).unwrap();
    assert!(std::process::Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap().success());
    assert_eq!(console.wait().await.unwrap().code(), Some(0));
    until("no Session to be left", async || {
        let left = session().await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    kubectl(&["delete", "rolebinding,role", &name, "--namespace=jct-system"]).await;
}
