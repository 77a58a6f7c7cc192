//! What `helm test` does with an installation.

use crate::support::{RELEASE_NAMESPACE, World, helm, kubectl};

#[tokio::test]
async fn a_helm_test_runs_a_task_to_its_end() {
    let _world = World::alone("helm-test").await;
    let said = helm(&["test", "jct", "--namespace", RELEASE_NAMESPACE, "--timeout", "180s"]).await;
    assert!(said.contains("jct-test-task") && !said.contains("Failed"), "{said}");
    // It goes by itself, five minutes after its end.
    let columns = "--output=jsonpath={range .items[*]}{.spec.requestedBy.id} {.status.phase};{end}";
    let tasks = kubectl(&["get", "tasks.jct.dev", "--namespace=default", columns]).await;
    assert!(tasks.contains("helm-test Completed;"), "{tasks}");
}
