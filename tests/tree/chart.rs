//! What the chart makes of its values, by the helm of the test cluster.

use std::process::{Command, Output};
use std::sync::OnceLock;

use jct::api::RequestLabels;
use jct::reconcile::{OutcomeLabels, ReconcileLabels};
use jct::runtime::metrics::{OpenLabels, PhaseLabels};
use jct::webhook::ReviewLabels;
use serde_yaml::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The helm that the scripts use, built if need be.
fn helm() -> &'static str {
    static HELM: OnceLock<String> = OnceLock::new();
    HELM.get_or_init(|| {
        let script = ". tests/cluster/lib.sh && \"$HERE/tools.sh\" helm >&2 && echo \"$TOOLS/helm\"";
        let output = Command::new("bash").args(["-c", script]).current_dir(ROOT).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    })
}

/// `helm template` with these values, as YAML.
fn template(values: &str) -> Output {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, values.as_bytes()).unwrap();
    let arguments = ["template", "jct", "charts/jct", "--namespace", "jct-system", "--values"];
    Command::new(helm()).args(arguments).arg(file.path()).current_dir(ROOT).output().unwrap()
}

/// The objects that the chart makes with these values.
fn objects(values: &str) -> Vec<Value> {
    let output = template(values);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .filter(|object: &Value| !object.is_null())
        .collect()
}

/// Why the chart refuses these values.
fn refusal(values: &str) -> String {
    let output = template(values);
    assert!(!output.status.success(), "{values} is taken");
    String::from_utf8(output.stderr).unwrap()
}

fn object(objects: &[Value], kind: &str, name: &str) -> Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}")).clone()
}

/// The pod of the operator with these values.
fn pod(values: &str) -> Value {
    object(&objects(values), "Deployment", "jct")["spec"]["template"].clone()
}

/// A variable of the operator.
fn variable(pod: &Value, name: &str) -> String {
    let env = pod["spec"]["containers"][0]["env"].as_sequence().unwrap();
    let found = env.iter().find(|variable| variable["name"] == name).unwrap_or_else(|| panic!("{name} is not set"));
    found["value"].as_str().unwrap().to_owned()
}

#[test]
fn the_images_are_those_of_the_version_of_the_chart() {
    let chart = std::fs::read_to_string(format!("{ROOT}/charts/jct/Chart.yaml")).unwrap();
    let version = serde_yaml::from_str::<Value>(&chart).unwrap()["appVersion"].as_str().unwrap().to_owned();
    let pod = pod("");
    assert_eq!(pod["spec"]["containers"][0]["image"].as_str().unwrap(), format!("jct-operator:{version}"));
    assert_eq!(variable(&pod, "JCT_WORKER_IMAGE"), format!("jct-worker:{version}"));
}

/// A pod that is another one is waited for by `helm upgrade --wait`.
#[test]
fn what_is_configured_by_files_makes_another_pod() {
    let as_it_was = pod("");
    assert_eq!(as_it_was, pod(""), "nothing has changed");
    let agent = "{name: a, operations: [docs], image: a, command: [a]}";
    for values in [
        &format!("executors: {{executors: [{agent}]}}"),
        "executors: {redact: [a]}",
        "retention: {interval: 2h}",
        "retention: {traces: [{outcome: any, maxAge: 7d}]}",
    ] {
        assert_ne!(as_it_was, pod(values), "{values}");
    }
    let client_ca = |pem: &str| pod(&format!("webhook: {{clientCA: {{pem: '-----BEGIN CERTIFICATE-----{pem}'}}}}"));
    assert_ne!(client_ca("a"), client_ca("b"));
}

/// `helm template` writes hooks too: whoever applies what it writes must not take the finalizers off a running installation.
#[test]
fn what_is_done_after_an_uninstall_is_not_done_while_the_operator_is_there() {
    let objects = objects("");
    let job = object(&objects, "Job", "jct-release-finalizers");
    let args = &job["spec"]["template"]["spec"]["containers"][0]["args"];
    assert_eq!(args[1].as_str(), Some("--unless-installed=jct-system/jct"));
    let role = object(&objects, "ClusterRole", "jct-release-finalizers");
    let may_look = role["rules"].as_sequence().unwrap().iter().any(|rule| rule["resources"][0] == "deployments");
    assert!(may_look, "{role:?}");
}

/// A server on the loopback that answers each request with this line.
fn server(line: &'static str) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            // All of it, which may come in pieces: a socket that is closed with something unread in it is reset.
            let mut request = std::io::BufReader::new(&connection);
            let mut line_of_request = String::new();
            while std::io::BufRead::read_line(&mut request, &mut line_of_request).unwrap() > 2 {
                line_of_request.clear();
            }
            std::io::Write::write_all(&mut connection, format!("{line}\r\n\r\ntext\n").as_bytes()).unwrap();
        }
    });
    port
}

/// The command of the pod is run as it stands.
#[test]
fn a_helm_test_tells_whether_the_operator_is_ready() {
    let pod = object(&objects(""), "Pod", "jct-test");
    let command = pod["spec"]["containers"][0]["command"].as_sequence().unwrap();
    let command: Vec<&str> = command.iter().map(|part| part.as_str().unwrap()).collect();
    let env = pod["spec"]["containers"][0]["env"].as_sequence().unwrap();
    assert_eq!((env[0]["value"].as_str(), env[1]["value"].as_str()), (Some("jct-api"), Some("80")));
    let passes = |line: &'static str| {
        let mut asked = Command::new(command[0]);
        asked.args(&command[1..]).env("HOST", "127.0.0.1").env("PORT", server(line).to_string());
        asked.output().unwrap().status.success()
    };
    assert!(passes("HTTP/1.0 200 OK"));
    assert!(!passes("HTTP/1.0 503 Service Unavailable"));
}

#[test]
fn workers_are_placed_by_values() {
    let values = "workers:\n  nodeSelector: {pool: work}\n  tolerations: [{key: work, operator: Exists}]\n  podLabels: {cost: a}\n  \
                  priorityClassName: low\nsource: {proxy: 'http://proxy.example:3128', ca: {configMap: corporate, key: b.pem}}";
    let pod = pod(values);
    for (name, value) in [
        ("JCT_WORKER_NODE_SELECTOR", r#"{"pool":"work"}"#),
        ("JCT_WORKER_TOLERATIONS", r#"[{"key":"work","operator":"Exists"}]"#),
        ("JCT_WORKER_AFFINITY", "{}"),
        ("JCT_WORKER_LABELS", r#"{"cost":"a"}"#),
        ("JCT_WORKER_PRIORITY_CLASS", "low"),
        ("JCT_SOURCE_PROXY", "http://proxy.example:3128"),
        ("JCT_SOURCE_CA_CONFIG_MAP", "corporate"),
        ("JCT_SOURCE_CA_KEY", "b.pem"),
    ] {
        assert_eq!(variable(&pod, name), value, "{name}");
    }
    let pem = "source: {ca: {pem: '-----BEGIN CERTIFICATE-----x', key: b.pem}}";
    let objects = objects(pem);
    let map = object(&objects, "ConfigMap", "jct-source-ca");
    assert!(map["data"]["ca.crt"].as_str().unwrap().contains("BEGIN CERTIFICATE"));
    let pod = object(&objects, "Deployment", "jct")["spec"]["template"].clone();
    let reported = (variable(&pod, "JCT_SOURCE_CA_CONFIG_MAP"), variable(&pod, "JCT_SOURCE_CA_KEY"));
    assert_eq!(reported, ("jct-source-ca".into(), "ca.crt".into()));
    assert!(
        refusal("source: {ca: {pem: '-----BEGIN CERTIFICATE-----x', configMap: corporate}}")
            .contains("one of pem and configMap")
    );
    assert!(refusal("source: {proxy: 'http://me:secret@proxy.example'}").contains("proxy"));
}

#[test]
fn a_value_that_is_none_is_refused_by_its_name() {
    for (values, reported) in
        [("workers: {executorWaitSeconds: -1}", "executorWaitSeconds"), ("workers: {no: 1}", "no")]
    {
        let refusal = refusal(values);
        assert!(refusal.contains(reported), "{refusal}");
    }
}

/// Everything that is off by default.
const EVERYTHING: &str = "api:\n  ingress: {enabled: true, className: public, host: jct.example.org, tlsSecret: jct-tls}\n  \
    httpRoute: {parentRefs: [{name: public}], hostnames: [jct.example.org]}\nmonitoring:\n  \
    serviceMonitor: {enabled: true, tokenSecret: {name: scraper}}\n  \
    rules: {enabled: true, runbooks: 'https://docs.example.org/runbooks'}\n  dashboard: {enabled: true}";

#[test]
fn the_api_is_reached_by_an_ingress_or_a_gateway() {
    let objects = objects(EVERYTHING);
    let service = object(&objects, "Service", "jct-api");
    let ingress = object(&objects, "Ingress", "jct-api");
    let rule = &ingress["spec"]["rules"][0];
    let backend = &rule["http"]["paths"][0]["backend"]["service"];
    assert_eq!((rule["host"].as_str(), backend["name"].as_str()), (Some("jct.example.org"), Some("jct-api")));
    assert_eq!(backend["port"]["name"], service["spec"]["ports"][0]["name"]);
    assert_eq!(ingress["spec"]["tls"][0]["secretName"], "jct-tls");
    let route = object(&objects, "HTTPRoute", "jct-api");
    let backend = &route["spec"]["rules"][0]["backendRefs"][0];
    assert_eq!((&backend["name"], &backend["port"]), (&"jct-api".into(), &service["spec"]["ports"][0]["port"]));
    assert!(refusal("api: {ingress: {enabled: true}}").contains("api.ingress.host"));
    assert!(refusal("monitoring: {serviceMonitor: {enabled: true}}").contains("tokenSecret.name"));
    let by_default = self::objects("");
    for kind in ["Ingress", "HTTPRoute", "ServiceMonitor", "PrometheusRule"] {
        assert!(by_default.iter().all(|object| object["kind"] != kind), "{kind} is not everywhere");
        assert!(objects.iter().any(|object| object["kind"] == kind), "the control: {kind}");
    }
}

#[test]
fn a_scraper_finds_the_service() {
    let objects = objects(EVERYTHING);
    let (service, monitor) = (object(&objects, "Service", "jct-api"), object(&objects, "ServiceMonitor", "jct"));
    let labels = service["metadata"]["labels"].as_mapping().unwrap();
    let wanted = monitor["spec"]["selector"]["matchLabels"].as_mapping().unwrap();
    assert!(!wanted.is_empty() && wanted.iter().all(|(name, value)| labels.get(name) == Some(value)));
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"]);
    assert_eq!(endpoint["authorization"]["credentials"]["name"], "scraper");
}

/// The operator's metrics. Those with labels are shown from the first time on that they count.
fn metrics() -> jct::runtime::Metrics {
    let metrics = jct::runtime::Metrics::default();
    drop(metrics.webhook.reviews.get_or_create(&ReviewLabels { webhook: "mutate", result: "allowed".into() }));
    drop(metrics.api.requests.get_or_create(&RequestLabels { route: "none".into(), status: 200 }));
    drop(metrics.reconcile.reconciles.get_or_create(&ReconcileLabels { kind: "Task", result: "ok" }));
    drop(metrics.reconcile.outcomes.get_or_create(&OutcomeLabels { phase: "failed", reason: "Evicted" }));
    drop(metrics.process.tasks.get_or_create(&PhaseLabels { phase: "queued" }));
    drop(metrics.process.open_tasks.get_or_create(&OpenLabels { namespace: "team".into(), phase: "queued" }));
    jct_notify::Count::sent(&metrics.notifications, "ci");
    jct_notify::Count::failed(&metrics.notifications, "ci", "timeout");
    jct_notify::Count::given_up(&metrics.notifications, "ci");
    jct_notify::Count::oldest_waits(&metrics.notifications, "ci", 0);
    metrics
}

/// The names of metrics in an expression.
fn metrics_in(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("jct_"))
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let objects = objects(EVERYTHING);
    let there = metrics().page.encode();
    let there: Vec<&str> =
        there.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).map(|(name, _)| name).collect();
    let rules = object(&objects, "PrometheusRule", "jct");
    let dashboard = object(&objects, "ConfigMap", "jct-dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard["data"]["jct.json"].as_str().unwrap()).unwrap();
    let of_rules =
        rules["spec"]["groups"][0]["rules"].as_sequence().unwrap().iter().map(|rule| rule["expr"].as_str().unwrap());
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let of_panels =
        panels.flat_map(|panel| panel["targets"].as_array().unwrap()).map(|target| target["expr"].as_str().unwrap());
    let mut asked = 0;
    for name in of_rules.chain(of_panels).flat_map(metrics_in) {
        let known = there
            .iter()
            .any(|known| name.strip_prefix(known).is_some_and(|end| ["", "_total", "_bucket"].contains(&end)));
        assert!(known, "there is no metric {name}");
        asked += 1;
    }
    assert!(asked > 40, "{asked} were read");
}

#[test]
fn each_alert_is_one_that_prometheus_takes_and_has_a_runbook() {
    let rules = object(&objects(EVERYTHING), "PrometheusRule", "jct");
    let runbooks = std::fs::read_to_string(format!("{ROOT}/docs/runbooks.md")).unwrap();
    let alerts = rules["spec"]["groups"][0]["rules"].as_sequence().unwrap();
    for alert in alerts {
        let name = alert["alert"].as_str().unwrap();
        assert!(runbooks.contains(&format!("\n## {name}\n")), "docs/runbooks.md says nothing of {name}");
        let link = alert["annotations"]["runbook_url"].as_str().unwrap();
        assert_eq!(link, format!("https://docs.example.org/runbooks#{}", name.to_lowercase()));
    }
    assert_eq!(runbooks.matches("\n## ").count(), alerts.len(), "none is told that there is not");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_yaml::to_string(&rules["spec"]).unwrap()).unwrap();
    let check = || Command::new("promtool").args(["check", "rules"]).arg(file.path()).output().unwrap();
    let checked = check();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    std::fs::write(file.path(), serde_yaml::to_string(&rules["spec"]).unwrap().replace("min(", "minimum(")).unwrap();
    assert!(!check().status.success(), "the control: a mistake is seen");
}

const FORGES: &str = "workers: {namespace: jct-workers}\ntraces: {existingClaim: traces, operatorClaim: traces}\n\
    forges: [{name: own, kind: gitea, repos: [octo/], git: 'https://git.example/{repo}.git', api: 'https://git.example/api/v1', \
    read: {secret: own-read}, write: {secret: own-write}, delivery: {signing: {secret: own-read}}}]";

#[test]
fn forges_bring_the_right_to_their_secrets_alone_and_to_write_in_the_worker_namespace_without_reading() {
    let with = objects(FORGES);
    let secrets = &object(&with, "Role", "jct-forges")["rules"][0];
    let names: Vec<_> =
        secrets["resourceNames"].as_sequence().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names, ["own-read", "own-write"]);
    assert_eq!(secrets["verbs"].as_sequence().unwrap(), &[Value::from("get")]);
    let role = object(&with, "Role", "jct-credentials");
    assert_eq!(role["metadata"]["namespace"], "jct-workers");
    let verbs: Vec<_> =
        role["rules"][0]["verbs"].as_sequence().unwrap().iter().map(|verb| verb.as_str().unwrap()).collect();
    assert_eq!(verbs, ["create", "update", "delete"]);
    let pod = pod(FORGES);
    assert_eq!(variable(&pod, "JCT_FORGES_FILE"), "/etc/jct/forges/forges.yaml");
    let configured = object(&with, "ConfigMap", "jct-forges")["data"]["forges.yaml"].as_str().unwrap().to_owned();
    assert_eq!(jct::domain::forge::Forges::read(&configured).unwrap().0.len(), 1);

    let without = serde_yaml::to_string(&objects("")).unwrap();
    assert!(!without.contains("JCT_FORGES") && !without.contains("jct-credentials"), "{without}");
    let alone = FORGES.replace("workers: {namespace: jct-workers}", "workers: {}");
    assert!(refusal(&alone).contains("workers in a namespace of their own"));
    assert!(refusal(&FORGES.replace("kind: gitea", "kind: svn")).contains("kind"));
}

const MODELS: &str = "models: {providers: [\
    {name: a, dialect: anthropic, url: 'https://a.example', key: {secret: keys, key: a}}, \
    {name: b, dialect: gemini, url: 'https://b.example', key: {secret: keys, key: b}}]}";

#[test]
fn models_bring_a_broker_and_the_right_to_its_keys_alone() {
    let with = objects(MODELS);
    let service = object(&with, "Service", "jct-model");
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "model");
    let secrets = &object(&with, "Role", "jct-models")["rules"][0];
    assert_eq!(
        (&secrets["resourceNames"][0], secrets["resourceNames"].as_sequence().unwrap().len()),
        (&"keys".into(), 1)
    );
    assert_eq!(secrets["verbs"].as_sequence().unwrap(), &[Value::from("get")]);
    let pod = pod(MODELS);
    assert_eq!(variable(&pod, "JCT_MODEL_PORT"), "8444");
    assert_eq!(variable(&pod, "JCT_MODEL_SERVICE"), "jct-model");
    let egress = object(&with, "NetworkPolicy", "jct-workers")["spec"]["egress"].clone();
    let ports: Vec<_> = egress.as_sequence().unwrap().iter().map(|rule| rule["ports"][0]["port"].clone()).collect();
    assert!(ports.contains(&8444.into()), "{ports:?}");
    let configured = object(&with, "ConfigMap", "jct-models")["data"]["models.yaml"].as_str().unwrap().to_owned();
    assert_eq!(jct::domain::model::Models::read(&configured).unwrap().providers.len(), 2);

    let without = serde_yaml::to_string(&objects("")).unwrap();
    assert!(!without.contains("JCT_MODEL") && !without.contains("8444") && !without.contains("jct-model"), "{without}");
    assert!(
        refusal("models: {providers: [{name: a, dialect: latin, url: 'https://a', key: {secret: s, key: k}}]}")
            .contains("dialect")
    );
}
