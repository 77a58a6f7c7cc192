//! A Task from its declaration to its trace.

use serde_json::{Value, json};
use sqlx::Row as _;

use crate::support::{NORMAL, Trace, World, audit, condition, query, task};

#[tokio::test]
async fn a_task_is_gated_recorded_run_and_traced() {
    let world = World::shared("happy").await;
    world.create(task("first", json!({}))).await;
    let task = world.wait_for("first", "Completed").await;
    let status = task.status.clone().unwrap();
    println!("{}", serde_json::to_string_pretty(&status).unwrap());
    for entry in audit(&["--trace", status.trace_id.as_deref().unwrap()]).await {
        println!("{entry}");
    }
    let trace = Trace::of(&world, &task).await;
    trace.check(&task).unwrap();
}
