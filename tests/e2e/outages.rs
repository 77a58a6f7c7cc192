//! The database away: admission goes on, nothing is acknowledged that is not stored, no operator ends for it, and all goes
//! on by itself when it is back.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;
use std::process::Command;

use futures::FutureExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::support::{
    NORMAL, Postgres, RELEASE_NAMESPACE, Rest, Task, World, condition, helm_fails, id, jobs_ever, kubectl,
    no_operator_restarted, operators, query, task, token, until, upgrade, verify_audit, verify_other_audit,
};

/// Somebody who may enqueue Tasks in the test's namespace.
async fn caller(world: &World) -> String {
    world.allow(&format!("system:serviceaccount:{}:ci", world.namespace)).await;
    token(&world.namespace, "ci", "jct").await
}

/// What holds while the record cannot be written, by a Task that is applied meanwhile.
async fn the_record_is_away(world: &World, applied: Value, token: &str, why: &str) -> Task {
    let name = world.create(applied).await.name_any();
    let denied = world.denied(&task("bad", json!({"target": {"repo": "other/thing"}}))).await;
    assert!(denied.message.contains("REPO_NOT_ALLOWED"), "{denied:?}");

    let rest = Rest::open().await;
    // What was found a moment ago counts for two seconds.
    until("the operator to say that it is not ready, and why", async || {
        let (status, _, body) = rest.answer("GET", "/readyz", "", "").await;
        let reported = status == 503 && body.contains("database: ") && body.contains(why);
        if reported { Ok(()) } else { Err(format!("{status} {body}")) }
    })
    .await;

    let before = world.tasks().list_metadata(&ListParams::default()).await.unwrap().items.len();
    let body = json!({
        "requested_by": {"kind": "system", "id": "ci"}, "objective": "Look around", "operation": "analysis",
        "target": {"repo": NORMAL},
    });
    let enqueue = format!("/tasks/enqueue?namespace={}", world.namespace);
    let (status, head, body) = rest.answer("POST", &enqueue, token, &body.to_string()).await;
    assert_eq!(status, 503, "{body}");
    assert!(head.to_lowercase().contains("retry-after: 5"), "{head}");
    let after = world.tasks().list_metadata(&ListParams::default()).await.unwrap().items.len();
    assert_eq!(after, before, "a Task was made though it could not be recorded");

    let waiting = world.wait_for_reason(&name, "StoreUnavailable").await;
    assert_eq!(condition(&waiting, "Recorded"), ("False".into(), "StoreUnavailable".into()));
    assert!(jobs_ever(&waiting).is_empty(), "a Job was made for a Task that is not recorded");
    no_operator_restarted(world).await;
    waiting
}

#[tokio::test]
async fn postgresql_may_go_and_come_back_and_so_may_the_leading_replica() {
    let world = World::alone("postgres").await;
    let token = caller(&world).await;
    let postgres = Postgres::new();
    let url = format!("database.url={}", postgres.url());
    let refused = helm_fails(&["replicas=2"]).await;
    assert!(refused.contains("SQLite has one writer"), "{refused}");
    // Nobody is to work with the one record while another works with the other.
    stop_operator().await;
    upgrade(&[&url, "data.enabled=false", "replicas=2", "lease.seconds=5"]).await;
    let seen = AssertUnwindSafe(two_replicas(&world, &postgres, &token)).catch_unwind().await;
    stop_operator().await;
    upgrade(&[]).await;
    seen.unwrap_or_else(|panic| resume_unwind(panic));
}

async fn two_replicas(world: &World, postgres: &Postgres, token: &str) {
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), RELEASE_NAMESPACE);
    let leader = async || {
        let lease = leases.get("jct").await.unwrap();
        lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default()
    };
    let names: BTreeSet<String> = operators(world).await.iter().map(|pod| pod.name_any()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    // An earlier holder's Lease may have to run out.
    let first = until("a leader", async || {
        let leader = leader().await;
        if names.contains(&leader) { Ok(leader) } else { Err(leader) }
    })
    .await;
    world.create(task("begun", json!({}))).await;
    world.wait_for_job("begun").await;

    kubectl(&["delete", "pod", &first, "--namespace", RELEASE_NAMESPACE, "--force", "--grace-period=0"]).await;
    world.create(task("led", json!({}))).await;
    for name in ["begun", "led"] {
        world.wait_for(name, "Completed").await;
    }
    assert_ne!(leader().await, first);

    // It hangs: whoever asks waits.
    postgres.freeze();
    the_record_is_away(world, task("hung", json!({})), token, "database: ").await;
    postgres.thaw();
    world.wait_for_job("hung").await;

    // It is gone, and a worker runs: whoever asks is refused.
    postgres.stop();
    the_record_is_away(world, task("gone", json!({})), token, "the database is not available").await;
    postgres.start();
    for name in ["hung", "gone"] {
        world.wait_for(name, "Completed").await;
    }

    for name in ["begun", "led", "hung", "gone"] {
        let task = world.get(name).await;
        assert_eq!(jobs_ever(&task).len(), 1, "{name}: one Job for each attempt");
        let uid = task.metadata.uid.as_deref().unwrap();
        assert_eq!(postgres.count("SELECT COUNT(*) FROM tasks WHERE uid = $1", uid).await, 1, "{name}");
        assert_eq!(postgres.count("SELECT COUNT(*) FROM jobs WHERE task_id = $1", &id(&task)).await, 1, "{name}");
    }
    verify_other_audit().await;
    no_operator_restarted(world).await;
    // Another record does not know them.
    world.tasks().delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    for name in ["begun", "led", "hung", "gone"] {
        world.wait_until_gone(name).await;
    }
}

/// The database's volume replaced by a small one, for as long as this is there and the operator is not.
struct SmallVolume {
    folder: PathBuf,
    kept: tempfile::TempDir,
}

fn sh(script: &str, arguments: [&std::path::Path; 2]) {
    let output = Command::new("sh").args(["-euc", script, "sh"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

impl SmallVolume {
    async fn mount(folder: PathBuf) -> Self {
        let kept = tempfile::tempdir().unwrap();
        let script = r#"cp -a "$1/." "$2"; size=$(($(du -sk "$1" | cut -f1) + 4096))
            mount -t tmpfs -o "size=${size}k,mode=0777" none "$1"; cp -a "$2/." "$1""#;
        sh(script, [&folder, kept.path()]);
        let volume = Self { folder, kept };
        volume.drop_log().await;
        volume
    }

    /// Ends SQLite's write-ahead log, whose length stays usable however full the disk is.
    async fn drop_log(&self) {
        let options = SqliteConnectOptions::new().filename(self.folder.join("jct.db"));
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let left = fs::exists(self.folder.join("jct.db-wal")).unwrap();
        assert!(!left, "somebody else has the database open");
    }

    /// Uses up all that is left.
    fn fill(&self) {
        let mut ballast = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("ballast")).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.folder.join("ballast")).unwrap();
    }

    /// Keeps what was written to it.
    fn unmount(self) {
        let script = r#"rm -f "$1/ballast"; rm -rf "$2"; mkdir "$2"; cp -a "$1/." "$2"; umount "$1"
            find "$1" -maxdepth 1 -type f -delete; cp -a "$2/." "$1""#;
        sh(script, [&self.folder, self.kept.path()]);
    }
}

async fn stop_operator() {
    let namespace = format!("--namespace={RELEASE_NAMESPACE}");
    kubectl(&["scale", "deployment/jct", &namespace, "--replicas=0"]).await;
    let selector = "--selector=app.kubernetes.io/component=operator";
    kubectl(&["wait", "pods", &namespace, selector, "--for=delete", "--timeout=60s"]).await;
}

#[tokio::test]
async fn a_full_disk_holds_up_the_record_and_nothing_else() {
    let world = World::alone("full").await;
    let token = caller(&world).await;
    let folder = world.folder_of_claim("jct-data").await;
    stop_operator().await;
    let volume = SmallVolume::mount(folder).await;
    let seen = AssertUnwindSafe(on_a_full_disk(&world, &volume, &token)).catch_unwind().await;
    stop_operator().await;
    volume.unmount();
    upgrade(&[]).await;
    seen.unwrap_or_else(|panic| resume_unwind(panic));
    verify_audit().await;
    for (name, jobs) in [("from-the-start", 0), ("later", 1)] {
        let task = world.get(name).await;
        let rows = query(&world, "SELECT id FROM tasks WHERE uid = $1", task.metadata.uid.as_deref().unwrap()).await;
        assert_eq!((rows.len(), jobs_ever(&task).len()), (1, jobs), "{name}");
    }
}

async fn on_a_full_disk(world: &World, volume: &SmallVolume, token: &str) {
    // Full before the operator starts: it does, and tells why it is not ready.
    volume.fill();
    kubectl(&["scale", "deployment/jct", "--namespace", RELEASE_NAMESPACE, "--replicas=1"]).await;
    let running = async || match operators(world).await.first() {
        Some(pod) if pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running")) => Ok(()),
        pod => Err(format!("{:?}", pod.map(|pod| &pod.status))),
    };
    until("the operator to run", running).await;
    let held = task("from-the-start", json!({"suspend": true}));
    let reported = the_record_is_away(world, held, token, "space").await;
    volume.free();
    let done = world.wait_for_reason("from-the-start", "Suspended").await;
    assert_eq!((id(&reported), condition(&done, "Recorded").0.as_str()), (id(&done), "True"));

    // Full under the running operator.
    volume.fill();
    let reported = the_record_is_away(world, task("later", json!({})), token, "free some or enlarge its volume").await;
    let message: Value = json!(reported.status.and_then(|status| status.message));
    assert!(message.as_str().is_some_and(|text| text.contains("no space left")), "{message}");
    volume.free();
    world.wait_for("later", "Completed").await;
    verify_audit().await;
    no_operator_restarted(world).await;
}
