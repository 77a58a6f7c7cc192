//! Several at once: how long it takes is printed, not judged.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use kube::api::ListParams;
use serde_json::json;

use crate::support::{World, phase, task, until};

#[tokio::test]
async fn ten_tasks_at_once() {
    let world = World::alone("ten").await;
    let names: Vec<String> = (0..10).map(|n| format!("task-{n}")).collect();
    let began = Instant::now();
    join_all(names.iter().map(|name| world.create(task(name, json!({}))))).await;
    let applied = began.elapsed();
    let mut queued: BTreeMap<String, Duration> = BTreeMap::new();
    let mut ended: BTreeMap<String, Duration> = BTreeMap::new();
    until("all ends", async || {
        for task in world.tasks().list(&ListParams::default()).await.unwrap() {
            let name = task.metadata.name.clone().unwrap();
            if task.status.as_ref().is_some_and(|status| status.job_name.is_some()) {
                queued.entry(name.clone()).or_insert_with(|| began.elapsed());
            }
            assert!(!["Failed", "Cancelled"].contains(&phase(&task)), "{:?}", task.status);
            if phase(&task) == "Completed" {
                ended.entry(name).or_insert_with(|| began.elapsed());
            }
        }
        if ended.len() == names.len() { Ok(()) } else { Err(format!("{} of {}", ended.len(), names.len())) }
    })
    .await;
    let span = |times: &BTreeMap<String, Duration>| {
        format!("{:.1?} to {:.1?}", times.values().min().unwrap(), times.values().max().unwrap())
    };
    println!(
        "TEN Tasks at once: applied after {applied:.1?}, Jobs after {}, completed after {}",
        span(&queued),
        span(&ended)
    );
}
