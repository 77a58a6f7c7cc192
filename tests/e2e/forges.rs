//! Private repositories on a real forge: who reads them, who does not, and where the credential is afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{RELEASE_NAMESPACE, Trace, World, configuration, configure, kubectl, run, setting, task, until};

/// The forge of the tests.
struct Forge {
    folder: PathBuf,
    url: String,
}

impl Forge {
    fn of_the_tests() -> Self {
        Self { folder: setting("JCT_E2E_FORGE").into(), url: setting("JCT_E2E_FORGE_URL") }
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap().trim().to_owned()
    }

    /// A user's token with these scopes, and no others.
    async fn token_of(&self, user: &str, scopes: &str) -> String {
        let program = self.folder.join("token-of");
        run(program.to_str().unwrap(), &[user, scopes], "").await.unwrap().trim().to_owned()
    }

    /// A call of its API, by its administrator, from where pods are.
    async fn api(&self, method: &str, path: &str, body: Value) -> Value {
        let (ca, url) = (self.folder.join("ca.crt").display().to_string(), format!("{}/api/v1{path}", self.url));
        // From a file: a command line shows the administrator's token to whoever looks.
        let config = format!("header = \"Authorization: token {}\"\n", self.file("token"));
        let args =
            ["--silent", "--cacert", &ca, "--config", "-", "--request", method, "--json", &body.to_string(), &url];
        let answer = run("curl", &args, &config).await.unwrap();
        serde_json::from_str(&answer).unwrap_or(Value::Null)
    }

    /// A private repository with a branch, a tag and a file; its commit.
    async fn private(&self, owner: &str, name: &str) -> String {
        self.api("POST", "/orgs", json!({"username": owner})).await;
        self.api("DELETE", &format!("/repos/{owner}/{name}"), json!({})).await;
        let repository = json!({"name": name, "private": true, "auto_init": true, "default_branch": "main"});
        self.api("POST", &format!("/orgs/{owner}/repos"), repository).await;
        let file =
            json!({"content": STANDARD.encode("of the private repository\n"), "message": "Begin", "branch": "main"});
        let made = self.api("POST", &format!("/repos/{owner}/{name}/contents/secret.txt"), file).await;
        self.api("POST", &format!("/repos/{owner}/{name}/tags"), json!({"tag_name": "v1"})).await;
        made["commit"]["sha"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    }

    async fn lets_read(&self, owner: &str, name: &str, user: &str) {
        self.api("PUT", &format!("/repos/{owner}/{name}/collaborators/{user}"), json!({"permission": "read"})).await;
    }
}

/// The forms in which a token may be somewhere: as it is, in base64 wherever it begins, by percent signs, in hexadecimal, and its
/// halves.
fn forms(token: &str) -> BTreeMap<&'static str, Vec<u8>> {
    // What stands around it changes the first and the last of it.
    let base64 = |before: usize| {
        let text = STANDARD.encode(format!("{}{token}", "x".repeat(before))).into_bytes();
        text[before.div_ceil(3) * 4..text.len() - 6].to_vec()
    };
    let percent: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    BTreeMap::from([
        ("as it is", token.as_bytes().to_vec()),
        ("base64", base64(0)),
        ("base64, one on", base64(1)),
        ("base64, two on", base64(2)),
        ("by percent signs", percent.into_bytes()),
        ("hexadecimal", token.bytes().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes()),
        ("the first half", token.as_bytes()[..token.len() / 2].to_vec()),
        ("the second half", token.as_bytes()[token.len() / 2..].to_vec()),
    ])
}

/// Whether it holds `text`, by the search of strings, which is a quick one also in a build for tests.
fn holds(haystack: &[u8], text: &[u8]) -> bool {
    String::from_utf8_lossy(haystack).contains(&*String::from_utf8_lossy(text))
}

fn found(token: &str, haystack: &[u8]) -> Vec<&'static str> {
    let haystack = String::from_utf8_lossy(haystack);
    let has = |form: &[u8]| haystack.contains(&*String::from_utf8_lossy(form));
    forms(token).into_iter().filter(|(_, form)| has(form)).map(|(name, _)| name).collect()
}

/// Everything below a folder: names, and what is in files.
fn everything(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        all.extend(path.to_string_lossy().bytes());
        match fs::read_dir(&path) {
            Ok(entries) => left.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => all.extend(fs::read(&path).unwrap_or_default()),
        }
    }
    all
}

/// Command lines and environments of all processes of the machine, looked at again and again until it is told to end.
fn watch_processes(stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let own = std::process::id().to_string();
        let mut seen = std::collections::BTreeSet::new();
        while !stop.load(Ordering::Relaxed) {
            for process in fs::read_dir("/proc").unwrap().flatten() {
                if process.file_name().to_string_lossy() != own {
                    let files = ["cmdline", "environ"].map(|name| fs::read(process.path().join(name)));
                    seen.extend(files.into_iter().flatten());
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        seen.into_iter().collect::<Vec<_>>().concat()
    })
}

fn forges(forge: &Forge, namespace: &str) -> String {
    let Forge { url, .. } = forge;
    json!([{
        "name": "own", "kind": "gitea", "repos": ["demo/private*"], "git": format!("{url}/{{repo}}.git"),
        "api": format!("{url}/api/v1"), "ca_bundle": forge.file("ca.crt"), "read": {"secret": "e2e-forge-read"},
        "grants": [{"namespaces": [namespace], "repos": ["demo/private"], "read": true}],
    }])
    .to_string()
}

/// What the chart gives where workers have a namespace of their own: here they have not, and a test gives it.
async fn rights() {
    let rule = |name: &str, rule: Value| {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": name, "namespace": RELEASE_NAMESPACE}, "rules": [rule]});
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": RELEASE_NAMESPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "jct", "namespace": RELEASE_NAMESPACE}]});
        [role, binding]
    };
    let read =
        json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["e2e-forge-read"], "verbs": ["get"]});
    let write = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "update", "delete"]});
    for object in [rule("e2e-forges", read), rule("e2e-credentials", write)].concat() {
        run("kubectl", &["apply", "-f", "-"], &object.to_string()).await.unwrap();
    }
}

async fn take_rights_back() {
    let namespace = format!("--namespace={RELEASE_NAMESPACE}");
    kubectl(&["delete", "role,rolebinding", "e2e-forges", "e2e-credentials", &namespace]).await;
    let operator = format!("--as=system:serviceaccount:{RELEASE_NAMESPACE}:jct");
    until("the rights to be gone", async || {
        match run("kubectl", &["auth", "can-i", "create", "secrets", &namespace, &operator], "").await {
            Ok(answer) => Err(answer),
            Err(_) => Ok(()),
        }
    })
    .await;
}

async fn keep(token: &str) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "e2e-forge-read", "namespace": RELEASE_NAMESPACE},
        "stringData": {"token": token},
    });
    run("kubectl", &["apply", "-f", "-"], &secret.to_string()).await.unwrap();
}

/// All objects of the cluster but Secrets.
async fn objects() -> String {
    let kinds = kubectl(&["api-resources", "--verbs=list", "--output=name"]).await;
    let mut all = String::new();
    for kind in kinds.lines().filter(|kind| *kind != "secrets") {
        // Some can't be listed at any time, such as metrics that nobody serves.
        all += &run("kubectl", &["get", kind, "--all-namespaces", "--output=json"], "").await.unwrap_or_default();
    }
    all
}

async fn logs(task: &crate::support::Task) -> String {
    let selector = format!("jct.dev/task-id={}", crate::support::id(task).to_lowercase());
    let namespace = format!("--namespace={RELEASE_NAMESPACE}");
    kubectl(&["logs", &namespace, "--selector", &selector, "--all-containers", "--tail=-1", "--prefix"]).await
}

#[tokio::test]
async fn a_private_repository_is_read_by_who_is_granted_it_and_its_token_is_nowhere() {
    let world = World::alone("forges").await;
    let forge = Forge::of_the_tests();
    let commit = forge.private("demo", "private").await;
    forge.private("demo", "private-evil").await;
    let canary = forge.token_of("reader", "read:repository").await;
    for name in ["private", "private-evil"] {
        forge.lets_read("demo", name, "reader").await;
    }
    rights().await;
    keep(&canary).await;
    let original = configuration(&world, "forges").await;
    set_forges(&world, &forges(&forge, &world.namespace)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let processes = watch_processes(stop.clone());

    // Whoever is granted it, by branch, tag and commit: the second one with an executor that shows all that it can read.
    let (mut traces, mut said) = (Vec::new(), String::new());
    for (name, git_ref, executor) in
        [("branch", "main", "analysis"), ("tag", "v1", "searcher"), ("commit", &*commit, "analysis")]
    {
        let spec = json!({"executor": executor, "target": {"repo": "demo/private", "ref": git_ref}});
        world.create(task(name, spec)).await;
        let ended = world.wait_for(name, "Completed").await;
        said += &logs(&ended).await;
        let trace = Trace::of(&world, &ended).await;
        trace.check(&ended).unwrap();
        assert!(trace.text("manifest.json").contains("/demo/private.git"), "{name}");
        traces.push(trace);
    }
    let searched = everything(&traces[1].folder);
    assert!(holds(&searched, b"of the private repository"), "the searcher saw its files");

    // A look-alike of the namespace, and one of the repository.
    let others = format!("{}-evil", world.namespace);
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": others, "labels": {"jct-e2e": ""}}});
    run("kubectl", &["apply", "-f", "-"], &namespace.to_string()).await.unwrap();
    for (namespace, repo) in [(&others, "demo/private"), (&world.namespace, "demo/private-evil")] {
        let mut manifest = task("look-alike", json!({"target": {"repo": repo}}));
        manifest["metadata"]["namespace"] = json!(namespace);
        run("kubectl", &["create", "-f", "-"], &manifest.to_string()).await.unwrap();
        let told = until("the look-alike to fail", async || {
            let path = "jsonpath={.status.phase} {.status.reason}: {.status.message}";
            let told = kubectl(&["get", "task.jct.dev/look-alike", "--namespace", namespace, "--output", path]).await;
            if told.starts_with("Failed") { Ok(told) } else { Err(told) }
        })
        .await;
        assert!(told.starts_with("Failed SourceNotFound: the forge own shows no repository"), "{told}");
        assert!(!told.contains("grant"), "{told}");
    }

    stop.store(true, Ordering::Relaxed);
    let processes = processes.join().unwrap();
    let operator = kubectl(&["logs", "--namespace", RELEASE_NAMESPACE, "deployment/jct", "--tail=-1"]).await;
    assert!(operator.contains("read without the forge's credential"), "administrators are told of the missing grant");
    let secrets = kubectl(&["get", "secrets", "--all-namespaces", "--output=json"]).await;
    let secrets: Value = serde_json::from_str(&secrets).unwrap();
    let is_configured = |secret: &Value| secret["metadata"]["name"] == "e2e-forge-read";
    let (configured, others): (Vec<Value>, Vec<Value>) =
        secrets["items"].as_array().unwrap().iter().cloned().partition(is_configured);
    let left: Vec<_> = others
        .iter()
        .filter_map(|secret| secret["metadata"]["name"].as_str())
        .filter(|name| name.ends_with("-read"))
        .collect();
    assert_eq!(left, Vec::<&str>::new(), "Secrets of attempts are gone");
    let traces_folder = world.folder_of_claim("jct-traces").await;
    let places: [(&str, Vec<u8>); 8] = [
        ("objects", objects().await.into_bytes()),
        ("other Secrets", serde_json::to_vec(&others).unwrap()),
        ("the operator's log", operator.into_bytes()),
        ("workers' logs", said.into_bytes()),
        ("traces and provenance", everything(&traces_folder)),
        ("the database", everything(&world.folder_of_claim("jct-data").await)),
        ("command lines and environments", processes),
        ("logs of the cluster", everything(&Path::new(&setting("JCT_E2E_STATE")).join("logs"))),
    ];
    for (place, bytes) in &places {
        assert!(bytes.len() > 100, "{place}: nothing was searched");
        assert_eq!(found(&canary, bytes), Vec::<&str>::new(), "{place}");
        println!("searched {} bytes of {place}", bytes.len());
    }
    // The control: in the Secret it is, and each form is found where it is.
    assert!(found(&canary, serde_json::to_string(&configured).unwrap().as_bytes()).contains(&"base64"));
    for (name, form) in forms(&canary) {
        assert!(found(&canary, &form).contains(&name), "{name}");
    }

    // From within the operator's pod: the credential is good, and when it is wrong it is said which, without it.
    let checked = jct_forge_check().await;
    let ok = "own: read (Secret e2e-forge-read) demo/private: ok: git may fetch, and its API says so\nexit 0";
    assert!(checked.contains(ok), "{checked}");
    keep(&format!("{canary}x")).await;
    let failed = jct_forge_check().await;
    let why =
        "own: read (Secret e2e-forge-read) demo/private: FAILED: git: it does not take the credential (401)\nexit 1";
    assert!(failed.contains(why) && !failed.contains(&canary), "{failed}");
    set_forges(&world, &original).await;
    take_rights_back().await;
}

/// Has the operator read another configuration of forges.
async fn set_forges(world: &World, yaml: &str) {
    let read = async || {
        let log = kubectl(&["logs", "--namespace", RELEASE_NAMESPACE, "deployment/jct", "--tail=-1"]).await;
        log.matches("configured anew: forges").count()
    };
    let before = read().await;
    configure(world, "forges", yaml).await;
    until("the forges to be configured", async || if read().await > before { Ok(()) } else { Err(yaml.to_owned()) })
        .await;
}

/// What it prints, and its exit code.
async fn jct_forge_check() -> String {
    let command = format!(
        "kubectl --namespace {RELEASE_NAMESPACE} exec deployment/jct --container=operator -- /jct forge check; echo exit $?"
    );
    run("sh", &["-c", &command], "").await.unwrap()
}
