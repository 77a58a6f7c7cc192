//! An executor with a model: no network and no key, a scripted provider, a change, its ledger.

use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::support::{
    Entry, RELEASE_NAMESPACE, Repository, Task, Trace, World, configuration, configure, kubectl, reason, run, setting,
    task, until,
};

const KEY: &str = "sk-of-the-end-to-end-tests";

/// Starts the provider in the test's namespace; its address.
async fn provider(world: &World) -> String {
    let labels = json!({"app": "fake-model"});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "fake-model", "namespace": world.namespace, "labels": labels},
        "spec": {"containers": [{
            "name": "fake-model", "image": setting("JCT_E2E_MODEL_IMAGE"), "imagePullPolicy": "IfNotPresent",
            "args": ["0.0.0.0:8080"],
            "env": [{"name": "FAKE_KEY", "value": KEY}, {"name": "FAKE_TEXT", "value": "As the model said."}],
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        }]},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "fake-model", "namespace": world.namespace},
        "spec": {"selector": labels, "ports": [{"port": 8080}]},
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "e2e-models", "namespace": RELEASE_NAMESPACE},
        "stringData": {"key": KEY},
    });
    for object in [pod, service, secret] {
        run("kubectl", &["apply", "-f", "-"], &object.to_string()).await.unwrap();
    }
    let namespace = format!("--namespace={}", world.namespace);
    kubectl(&["wait", "pod/fake-model", &namespace, "--for=condition=Ready", "--timeout=60s"]).await;
    format!("http://fake-model.{}.svc:8080", world.namespace)
}

/// Creates the Task once the changed configuration is there.
async fn create(world: &World, manifest: Value) {
    until("the Task to be admitted", async || {
        let created = world.try_create(&world.client, &manifest, "").await;
        created.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

async fn ended(world: &World, name: &str, executor: &str, phase: &str) -> (Task, Trace) {
    let spec = json!({
        "operation": "code_change", "executor": executor, "target": {"repo": "demo/asked"},
        "requestedBy": {"kind": "human", "id": "ada"},
    });
    create(world, task(name, spec)).await;
    let task = world.wait_for(name, phase).await;
    let trace = Trace::of(world, &task).await;
    trace.check(&task).unwrap();
    (task, trace)
}

fn exchanges(trace: &Trace) -> Vec<Value> {
    trace.text("model.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What each try of a hostile executor with a model gets.
const GOT: &[(&str, &[&str])] = &[
    (
        "SUCCEEDED",
        &[
            "connect to the model",
            "connect to the model by IPv6",
            "a stream of INET",
            "that is one of Unix",
            "ask which models there are",
        ],
    ),
    ("ECONNREFUSED", &["connect to another port"]),
    ("ENETUNREACH", &["connect to the API server", "connect elsewhere by IPv6"]),
    ("EACCES", &["listen"]),
    (
        "EPERM",
        &[
            "MPTCP",
            "SCTP",
            "a seccomp listener of its own",
            "socket AF_INET datagrams",
            "socket AF_INET raw",
            "socket AF_NETLINK",
            "socket AF_VSOCK",
            "socket AF_PACKET",
            "socketpair AF_INET",
        ],
    ),
    ("ENOSYS", &["socket AF_INET by x32"]),
    ("ENOENT", &["ask for files", "ask for batches"]),
    ("EHOSTUNREACH", &["resolve a name"]),
];

async fn what_it_may_not_have(world: &World) {
    let spec = json!({
        "executor": "hostile-with-a-model", "inputs": {"escapes": ["model", "network", "asking a thousand times"], "evidence": true},
    });
    create(world, task("hostile", spec)).await;
    let task = world.wait_for("hostile", "Completed").await;
    let trace = Trace::of(world, &task).await;
    trace.check(&task).unwrap();
    let evidence = trace.text("artifacts/tries");
    for (expected, tries) in GOT {
        for tried in *tries {
            let got = evidence.lines().find_map(|line| line.strip_prefix(&format!("{tried}: ")));
            assert_eq!(
                got.map(|got| got.contains(expected)),
                Some(true),
                "{tried}: {got:?} and not {expected}\n{evidence}"
            );
        }
    }
    // With a budget, each exchange reserved and settled on disk; seen with a debug build beside other tests: 15 to 30 ms.
    let took =
        evidence.lines().find_map(|line| line.strip_prefix("in microseconds, median and 99th of 100: ")).unwrap();
    println!("a request by relay and broker: {took} µs");
    assert_eq!(exchanges(&trace).len(), 1000, "{took}");
    let sent = evidence.lines().find(|line| line.starts_with("send while connecting: ")).unwrap();
    assert!(!sent.ends_with("SUCCEEDED"), "{sent}");
}

/// Codex CLI, unmodified, as examples/executors has it.
async fn a_real_agent_program_edits_a_file(world: &World) {
    let (_, trace) = ended(world, "codex", "codex", "Completed").await;
    let patch = trace.text("artifacts/change.patch");
    assert!(patch.contains("+++ b/hello.txt") && patch.contains("+written by the fake model"), "{patch}");
    let ledger = exchanges(&trace);
    assert_eq!(ledger.len(), 2, "{ledger:?}");
    for exchange in &ledger {
        assert_eq!((&exchange["alias"], &exchange["usage"]), (&json!("gpt"), &json!("reported")), "{exchange}");
    }
    let result = &trace.json("manifest.json")["result"];
    assert_eq!(
        (&result["summary"], result["cost"]["usd"].as_f64() > Some(0.0)),
        (&json!("As the model said."), true),
        "{result}"
    );
    assert!(result["decision_log"][0].as_str().is_some_and(|said| said.contains("hello.txt")), "{result}");
    let steps = trace.text("events.jsonl");
    assert!(steps.lines().any(|line| line.contains("\"executor_step\"") && line.contains("shell: ")), "{steps}");
    println!("codex on the cluster: {result}\n{patch}");
}

#[tokio::test]
async fn an_executor_without_a_network_has_a_model_within_its_budget() {
    let world = World::shared("models").await;
    let repository = Repository::new("demo/asked");
    repository.commit("main", "Begin", &[Entry::file("README.md", "# Asked\n")]);

    // Nobody is granted anything yet.
    let spec = json!({"operation": "code_change", "executor": "modelled", "target": {"repo": "demo/asked"}});
    let refused = world.try_create(&world.client, &task("refused", spec), "").await.unwrap_err().to_string();
    assert!(refused.contains("MODEL_NOT_ALLOWED") || refused.contains("none of which is granted"), "{refused}");

    let original = configuration(&world, "models").await;
    let mut models: Value = serde_yaml::from_str(&original).unwrap();
    let url = provider(&world).await;
    for provider in models["providers"].as_array_mut().unwrap() {
        provider["url"] = json!(url);
        provider["allow_plaintext"] = json!(true);
    }
    models["grants"] = json!([{"namespaces": ["models-*"], "repos": ["demo/"], "aliases": ["scripted", "gpt"], "max_usd_per_day": 1000}]);
    configure(&world, "models", &serde_yaml::to_string(&models).unwrap()).await;

    let (_, trace) = ended(&world, "asks", "modelled", "Completed").await;
    let patch = trace.text("artifacts/change.patch");
    assert!(patch.contains("said.txt") && patch.contains("+As the model said."), "{patch}");
    let ledger = exchanges(&trace);
    let [exchange] = ledger.as_slice() else { panic!("{ledger:?}") };
    assert_eq!(
        (&exchange["seq"], &exchange["alias"], &exchange["dialect"]),
        (&json!(1), &json!("scripted"), &json!("openai_chat"))
    );
    assert_eq!((&exchange["gen_ai.request.model"], &exchange["usage"]), (&json!("scripted-1"), &json!("reported")));
    let usd = exchange["usd"].as_f64().unwrap();
    assert!(usd > 0.0, "{exchange}");
    let manifest = trace.json("manifest.json");
    assert_eq!(manifest["result"]["cost"]["usd"], json!(usd), "{manifest}");
    // Elsewhere there is nothing, and the name of a host cannot even be asked for.
    let tries = trace.text("artifacts/tries.txt");
    assert!(tries.contains("refused") && tries.contains("unreachable") && tries.contains("bad address"), "{tries}");

    what_it_may_not_have(&world).await;
    a_real_agent_program_edits_a_file(&world).await;

    let (task, trace) = ended(&world, "poor", "modelled-poor", "Failed").await;
    assert_eq!(reason(&task), "ModelBudgetExceeded", "{:?}", task.status);
    let ledger = exchanges(&trace);
    assert_eq!((ledger.len(), &ledger[0]["error.type"]), (1, &json!("BUDGET_EXCEEDED")), "{ledger:?}");

    // The key is nowhere but where it belongs, and the pod of an attempt has none.
    let logs = run("kubectl", &["logs", "deployment/jct", "--namespace", RELEASE_NAMESPACE, "--since=5m"], "").await;
    assert!(!logs.unwrap().contains(KEY));
    for pod in world.pods_of(&task).await {
        let pod = serde_json::to_string(&pod).unwrap();
        assert!(!pod.contains(KEY) && pod.contains("jct-model-broker"), "{pod}");
    }
    configure(&world, "models", &original).await;
    assert_eq!(task.name_any(), "poor");
}
