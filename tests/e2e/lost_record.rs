//! The database is lost: what has ended does not run again, and an administrator brings it back.

use std::fs;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;

use futures::FutureExt as _;
use serde_json::json;
use sqlx::Row as _;

use crate::support::{
    RELEASE_NAMESPACE, World, condition, id, jct, jobs_ever, kubectl, operators, phase, query, task, until,
};

const FILES: [&str; 3] = ["jct.db", "jct.db-wal", "jct.db-shm"];

async fn scale(world: &World, replicas: &str) {
    kubectl(&["scale", "deployment/jct", "--namespace", RELEASE_NAMESPACE, &format!("--replicas={replicas}")]).await;
    if replicas == "0" {
        until("every operator to be gone", async || match operators(world).await.len() {
            0 => Ok(()),
            left => Err(format!("{left} are there")),
        })
        .await;
    } else {
        kubectl(&["rollout", "status", "deployment/jct", "--namespace", RELEASE_NAMESPACE, "--timeout=100s"]).await;
    }
}

/// Moves the files of the database, those that are there.
fn move_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in FILES {
        let _ = fs::remove_file(to.join(name));
        let _ = fs::rename(from.join(name), to.join(name));
    }
}

#[tokio::test]
async fn what_has_ended_does_not_run_again_once_the_database_is_lost() {
    let world = World::alone("lost").await;
    for name in ["kept", "again"] {
        world.create(task(name, json!({}))).await;
        world.wait_for(name, "Completed").await;
    }
    let data = world.folder_of_claim("jct-data").await;
    let aside = data.join("aside");
    scale(&world, "0").await;
    move_all(&data, &aside);
    scale(&world, "1").await;
    let tested = AssertUnwindSafe(while_it_is_lost(&world)).catch_unwind().await;
    // The record of all other tests comes back.
    scale(&world, "0").await;
    move_all(&aside, &data);
    fs::remove_dir_all(&aside).unwrap();
    scale(&world, "1").await;
    if let Err(panic) = tested {
        resume_unwind(panic);
    }
}

async fn while_it_is_lost(world: &World) {
    for name in ["kept", "again"] {
        let lost = world.wait_for_reason(name, "RecordLost").await;
        assert_eq!(phase(&lost), "Completed");
        assert_eq!(condition(&lost, "Recorded"), ("False".into(), "RecordLost".into()));
        assert_eq!(jobs_ever(&lost).len(), 1);
        assert!(query(world, "SELECT id FROM tasks WHERE id = $1", &id(&lost)).await.is_empty());
    }
    // The control: what is new runs.
    world.create(task("new", json!({}))).await;
    world.wait_for("new", "Completed").await;
    let place = |name: &str| format!("{}/{name}", world.namespace);
    let listed = jct(&["tasks", "lost", "--namespace", &world.namespace], "").await;
    assert!(listed.contains(&place("kept")) && listed.contains(&place("again")), "{listed}");
    assert!(!listed.contains(&place("new")), "{listed}");

    jct(&["tasks", "adopt", &place("kept")], "").await;
    let kept = world.wait_for_reason("kept", "Completed").await;
    assert_eq!(condition(&kept, "Recorded").0, "True");
    assert_eq!(jobs_ever(&kept).len(), 1);
    let rows = query(world, "SELECT status, adopted_by FROM tasks WHERE id = $1", &id(&kept)).await;
    assert_eq!(rows[0].get::<String, _>(0), "completed");
    assert!(rows[0].get::<String, _>(1).contains("serviceaccount"), "by the operator's own account, in its pod");

    jct(&["tasks", "rerun", &place("again")], "").await;
    let again = world.wait_for_reason("again", "Completed").await;
    assert_eq!(again.status.as_ref().unwrap().attempt, Some(2));
    assert_eq!(jobs_ever(&again).len(), 2);
    for name in ["kept", "again", "new"] {
        world.tasks().delete(name, &Default::default()).await.unwrap();
        world.wait_until_gone(name).await;
    }
}
