//! What one tenant can put into the cluster, and the operator's memory: run by `tests/e2e.sh` after all others, for it fills the
//! cluster.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::support::{World, kill_operator, kubectl, no_operator_restarted, operator_besides, operators, task};

const TENANT: &str = "mallory";
/// Of Tasks, and of work objects.
const MANY: usize = 500;
/// How many of these Tasks are deleted again.
const DELETED: usize = 50;

/// As many values as a spec may have, or few and long ones; 256 KiB in any case.
fn inputs(n: usize) -> Value {
    if n.is_multiple_of(2) {
        json!({"zeros": vec![0; 19_000], "text": "x".repeat(210 * 1024), "n": n})
    } else {
        json!({"text": format!("{n}-{}", "y".repeat(255 * 1024))})
    }
}

fn hostile_task(n: usize) -> Value {
    let mut manifest = task(
        &format!("hostile-{n}"),
        json!({"suspend": true, "inputs": inputs(n), "metadata": {"text": format!("{n}-{}", "z".repeat(63 * 1024))}}),
    );
    // Labels and annotations have no limit of their own below that of the object.
    manifest["metadata"]["annotations"] = json!({"tenant/note": "a".repeat(100 * 1024)});
    manifest
}

/// An Issue with a `meta` of the greatest size; every fifth waits for hundreds of objects with the longest names.
fn hostile_issue(n: usize) -> Value {
    let reference = |kind: &str, at: usize| json!({"kind": kind, "name": format!("{at}-{}", "n".repeat(245))});
    let references = |kind: &str| (0..100).map(|at| reference(kind, at)).collect::<Vec<_>>();
    let mut spec = json!({
        "repo": {"kind": "Repo", "name": "hello"}, "title": "Hostile", "type": "ops",
        "meta": {"zeros": vec![0; 15_000], "text": format!("{n}-{}", "m".repeat(340 * 1024))},
    });
    if n.is_multiple_of(5) {
        spec["doctrineRefs"] = json!(references("DoctrineRef"));
        spec["constraints"] = json!(references("ConstraintSnapshot"));
        spec["contextPackets"] = json!(references("ContextPacket"));
        spec["relationships"] = json!({"blocks": references("Issue"), "duplicates": references("Issue")});
    }
    json!({"apiVersion": "jct.dev/v1", "kind": "Issue", "metadata": {"name": format!("hostile-{n}")}, "spec": spec})
}

fn hostile_packet(n: usize) -> Value {
    json!({
        "apiVersion": "jct.dev/v1", "kind": "ContextPacket", "metadata": {"name": format!("hostile-{n}")},
        "spec": {
            "forIssue": {"kind": "Issue", "name": "hostile-1"}, "version": "1", "summary": "Hostile",
            "inputs": {"dataBlobs": [
                {"name": "a", "mediaType": "text/plain", "inline": format!("{n}-{}", "[0,".repeat(85 * 1024))}]},
            "meta": {"zeros": vec![0; 19_000]},
        },
    })
}

async fn create(world: &World, client: &Client, plural: &str, manifest: &Value) {
    let path = format!("/apis/jct.dev/v1/namespaces/{}/{plural}", world.namespace);
    let request = Request::post(path).header(http::header::CONTENT_TYPE, "application/json");
    let created: Result<Value, _> = client.request(request.body(serde_json::to_vec(manifest).unwrap()).unwrap()).await;
    created.unwrap_or_else(|error| panic!("{plural} {}: {error}", manifest["metadata"]["name"]));
}

/// What kubectl would show, and not the objects themselves: all of them are hundreds of megabytes.
async fn rows(world: &World, plural: &str) -> Vec<Value> {
    let path = format!("/apis/jct.dev/v1/namespaces/{}/{plural}?includeObject=None", world.namespace);
    let table: Value = world.get_raw(&path, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    table["rows"].as_array().cloned().unwrap_or_default()
}

/// How many objects show `wanted` in one of their columns.
async fn shown(world: &World, plural: &str, wanted: &str) -> usize {
    let shows = |row: &&Value| row["cells"].as_array().is_some_and(|cells| cells.contains(&json!(wanted)));
    rows(world, plural).await.iter().filter(shows).count()
}

/// Waits until so many do, as long as it goes on.
async fn all_show(world: &World, plural: &str, wanted: &str, count: usize) {
    let (mut found, mut since) = (0, Instant::now());
    while found < count {
        let now = shown(world, plural, wanted).await;
        if now > found {
            (found, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{found} of {count} {plural} are {wanted}, and no more");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Asks the webhook again and again, by a Task that is not stored; how often it did not answer.
async fn ask(world: &World, stop: &AtomicBool, failures: &AtomicUsize, answers: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        let asked = world.try_create(&world.client, &task("probe", json!({})), "dryRun=All").await;
        let counter = if asked.is_ok() { answers } else { failures };
        counter.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// The most memory that the operator's pod has had, as its cgroup tells; nothing if that cannot be found.
async fn peak(world: &World) -> String {
    fn find(folder: &Path, uid: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                find(&path, uid, found);
            } else if path.to_string_lossy().contains(uid)
                && (path.ends_with("memory.peak") || path.ends_with("memory.max_usage_in_bytes"))
            {
                found.push(path);
            }
        }
    }
    let Some(uid) = operators(world).await.into_iter().find_map(|pod| pod.metadata.uid) else { return String::new() };
    let mut found = Vec::new();
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"] {
        find(Path::new(root), &uid, &mut found);
    }
    let bytes = |path: &PathBuf| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    found.iter().filter_map(bytes).max().map(|bytes| format!("{} MiB", bytes >> 20)).unwrap_or_default()
}

#[tokio::test]
#[ignore = "fills the cluster: run at the end"]
async fn a_thousand_objects_of_the_greatest_size_leave_the_operator_its_memory() {
    let world = World::alone("memory").await;
    world.allow(TENANT).await;
    let tenant = world.client_of(TENANT).await;
    for pod in operators(&world).await {
        let limits = pod.spec.unwrap().containers[0].resources.clone().unwrap().limits.unwrap();
        assert_eq!(limits["memory"].0, "256Mi", "the chart's own limit");
    }
    let began = Instant::now();
    let repo = json!({"apiVersion": "jct.dev/v1", "kind": "Repo", "metadata": {"name": "hello"},
        "spec": {"name": "hello", "slug": "demo/hello", "source": {"system": "git"}}});
    create(&world, &tenant, "repos", &repo).await;

    let (stop, failures, answers) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let fill = async {
        let created = (0..MANY).map(|n| {
            let (world, tenant) = (&world, &tenant);
            async move {
                create(world, tenant, "tasks", &hostile_task(n)).await;
                let (plural, manifest) =
                    if n < MANY / 2 { ("issues", hostile_issue(n)) } else { ("contextpackets", hostile_packet(n)) };
                create(world, tenant, plural, &manifest).await;
            }
        });
        stream::iter(created).buffer_unordered(12).collect::<Vec<()>>().await;
        println!("memory: created after {:.0?}, peak {}", began.elapsed(), peak(&world).await);
        all_show(&world, "tasks", "Suspended", MANY).await;
        all_show(&world, "issues", "True", MANY / 2).await;
        all_show(&world, "contextpackets", "True", MANY - MANY / 2).await;
        println!("memory: recorded after {:.0?}, peak {}", began.elapsed(), peak(&world).await);
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(fill, ask(&world, &stop, &failures, &answers));
    let (failures, answers) = (failures.into_inner(), answers.into_inner());
    assert!(failures == 0 && answers > 0, "the webhook did not answer {failures} of {} times", failures + answers);
    no_operator_restarted(&world).await;

    // All of it is listed, read and held against the record again.
    let before = kill_operator(&world).await;
    operator_besides(&world, &before).await;
    println!("memory: ready again after {:.0?}, peak {}", began.elapsed(), peak(&world).await);
    world.create(task("after", json!({"suspend": true}))).await;
    world.wait_for_reason("after", "Suspended").await;
    world.tasks().delete("after", &Default::default()).await.unwrap();
    no_operator_restarted(&world).await;

    // Of those that go with a namespace, as many as tell how much each takes.
    let doomed: Vec<String> = (0..DELETED).map(|n| format!("tasks.jct.dev/hostile-{n}")).collect();
    let arguments = ["delete", "--namespace", &world.namespace, "--wait=false"];
    kubectl(&arguments.into_iter().chain(doomed.iter().map(String::as_str)).collect::<Vec<_>>()).await;
    let (mut left, mut since) = (usize::MAX, Instant::now());
    while left > MANY - DELETED {
        let now = shown(&world, "tasks", "Suspended").await;
        if now < left {
            (left, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{left} Tasks are left, and no fewer");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    println!("memory: deleted after {:.0?}, peak {}", began.elapsed(), peak(&world).await);
    no_operator_restarted(&world).await;
}
