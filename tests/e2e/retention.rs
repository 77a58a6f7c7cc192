//! Traces and records go by the rules of the installation, and what is left of them is in the audit log.

use kube::api::DeleteParams;
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::support::{
    Trace, World, audit, begun, condition, configuration, configure, id, jct, query, task, until, verify_audit,
};

/// Of its kind, so that no other test's is among what may go.
const RULES: &str =
    "interval: 1m\ntraces: [{outcome: cancelled, maxCount: 1}]\nrecords: [{outcome: cancelled, maxCount: 1}]\n";

async fn plan(rules: &str) -> Value {
    let reported = jct(&["retention", "plan", "--file", "-", "--output", "json"], rules).await;
    serde_json::from_str(&reported).unwrap()
}

#[tokio::test]
async fn traces_and_records_go_by_the_rules_and_the_audit_log_stays() {
    let world = World::shared("retention").await;
    for name in ["older", "newer"] {
        world.create(task(name, json!({"executor": "endless"}))).await;
        begun(&world, name, 1).await;
        world.set(name, "cancel", true).await;
        let task = world.wait_for(name, "Cancelled").await;
        assert_eq!(condition(&task, "TraceCaptured").0, "True", "{:?}", task.status);
    }
    let [older, newer] = [world.get("older").await, world.get("newer").await];
    let [gone, kept] = [Trace::of(&world, &older).await, Trace::of(&world, &newer).await];

    // First the plan, which removes nothing.
    let planned = plan(RULES).await.to_string();
    assert!(planned.contains(&id(&older)) && !planned.contains(&id(&newer)), "{planned}");
    assert!(gone.folder.is_dir());
    world.tasks().delete("older", &DeleteParams::default()).await.unwrap();
    world.wait_until_gone("older").await;

    let before = configuration(&world, "retention").await;
    configure(&world, "retention", RULES).await;

    let of_it = "SELECT status FROM tasks WHERE id = $1";
    until("trace and record to go", async || {
        let rows = query(&world, of_it, &id(&older)).await.len();
        if rows == 0 && !gone.folder.exists() { Ok(()) } else { Err(format!("{rows} rows, {:?}", gone.folder)) }
    })
    .await;
    configure(&world, "retention", &before).await;
    assert!(kept.folder.join("provenance.dsse.json").is_file());
    assert_eq!(query(&world, of_it, &id(&newer)).await[0].get::<String, _>(0), "cancelled");
    let reported = audit(&["--trace", older.status.as_ref().unwrap().trace_id.as_deref().unwrap()]).await;
    let removed: Vec<_> = reported.iter().filter(|entry| entry.to_string().contains("retention")).collect();
    assert!(removed.len() >= 2, "one for the trace, one for the record: {reported:#?}");
    assert!(reported.iter().any(|entry| entry["action"] == "created"), "who asked for it stays");
    verify_audit().await;
    let metrics = world.metrics().await;
    let records = metrics.lines().find_map(|line| line.strip_prefix("jct_retention_records_removed_total "));
    assert!(records.is_some_and(|count| count.parse::<u64>().unwrap() >= 1), "{records:?}");
}
