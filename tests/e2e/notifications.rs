//! Who is configured is told how a Task ended, by the operator in its pod.

use std::net::SocketAddr;

use base64::Engine as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::{RELEASE_NAMESPACE, World, configuration, configure, helm, id, run, setting, task, until};

const KEY: &str = "b2YgdGhlIGVuZC10by1lbmQgdGVzdHMsIGFuZCBub25lIG9mIHRoZWly";

struct Told {
    id: String,
    timestamp: String,
    signature: String,
    body: Vec<u8>,
}

/// Where pods reach this machine: where their repositories are.
fn address() -> String {
    let values: Value = serde_yaml::from_str(&std::fs::read_to_string(setting("JCT_E2E_VALUES")).unwrap()).unwrap();
    let url = values["source"]["urlTemplate"].as_str().unwrap().to_owned();
    let host = url.split("//").nth(1).unwrap().split(['/', ':']).next().unwrap();
    host.to_owned()
}

/// A receiver that does not take the first thing that it is told, and takes all else.
async fn receiver() -> (SocketAddr, mpsc::UnboundedReceiver<Told>) {
    let listener = TcpListener::bind((address(), 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let (sender, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut status = "503 Later";
        while let Ok((connection, _)) = listener.accept().await {
            let mut connection = BufReader::new(connection);
            let (mut heads, mut line) = (std::collections::BTreeMap::new(), String::new());
            while connection.read_line(&mut line).await.unwrap() > 2 {
                if let Some((name, value)) = line.trim().split_once(": ") {
                    heads.insert(name.to_lowercase(), value.to_owned());
                }
                line.clear();
            }
            let mut body = vec![0; heads["content-length"].parse().unwrap()];
            connection.read_exact(&mut body).await.unwrap();
            let head = |name: &str| heads.get(name).cloned().unwrap_or_default();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            connection.get_mut().write_all(answer.as_bytes()).await.unwrap();
            status = "204 Taken";
            let (id, timestamp, signature) = (head("webhook-id"), head("webhook-timestamp"), head("webhook-signature"));
            let _ = sender.send(Told { id, timestamp, signature, body });
        }
    });
    (at, told)
}

#[tokio::test]
async fn who_is_configured_is_told_how_a_task_ended() {
    let world = World::alone("notified").await;
    let (at, mut told) = receiver().await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "e2e-notify", "namespace": RELEASE_NAMESPACE},
        "stringData": {"key": format!("whsec_{KEY}")},
    });
    run("kubectl", &["apply", "-f", "-"], &secret.to_string()).await.unwrap();
    let before = configuration(&world, "notifications").await;
    let receiver = json!({"receivers": [{
        "name": "e2e", "url": format!("http://{at}/told"), "allowPlaintext": true,
        "signingKey": {"secret": "e2e-notify", "key": "key"}, "namespaces": [world.namespace],
    }]});
    configure(&world, "notifications", &serde_yaml::to_string(&receiver).unwrap()).await;
    // Only what ends after it is known is told, and when that is nobody says.
    let mut number = 0;
    let (first, ended) = loop {
        number += 1;
        let name = format!("told-{number}");
        world.create(task(&name, json!({}))).await;
        let ended = world.wait_for(&name, "Completed").await;
        let wait = tokio::time::timeout(std::time::Duration::from_secs(8), told.recv()).await;
        if let Ok(Some(first)) = wait {
            break (first, ended);
        }
        assert!(number < 12, "nothing is told");
    };
    let second = tokio::time::timeout(std::time::Duration::from_secs(60), told.recv()).await.unwrap().unwrap();
    assert_eq!(second.id, first.id, "what was not taken is told again");
    let event: Value = serde_json::from_slice(&second.body).unwrap();
    assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("dev.jct.task.completed")));
    assert_eq!((&event["data"]["task_id"], &event["data"]["namespace"]), (&json!(id(&ended)), &json!(world.namespace)));
    let key = base64::engine::general_purpose::STANDARD.decode(KEY).unwrap();
    let expected = jct_notify::signature(&key, &second.id, second.timestamp.parse().unwrap(), &second.body);
    assert_eq!(second.signature, format!("v1,{expected}"));
    configure(&world, "notifications", &before).await;
}

#[tokio::test]
async fn a_helm_test_runs_a_task_to_its_end() {
    let world = World::alone("helm-test").await;
    let said = helm(&["test", "jct", "--namespace", RELEASE_NAMESPACE, "--logs", "--timeout", "180s"]).await;
    assert!(said.contains("it is completed:"), "{said}");
    // It goes by itself, and its record stays.
    until("the Task of the test", async || {
        let query =
            ["get", "tasks.jct.dev", "--namespace=default", "--output=jsonpath={.items[*].spec.requestedBy.id}"];
        let found = run("kubectl", &query, "").await?;
        if found.contains("helm-test") { Ok(()) } else { Err(found) }
    })
    .await;
    drop(world);
}
