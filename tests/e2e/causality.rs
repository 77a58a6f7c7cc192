//! The work objects of a Task: what it was made of, what ran, what came out; each a row, linked and audited.

use serde_json::{Value, json};
use sqlx::Row as _;

use crate::support::{Task, World, audit, id, query, spec_in, task};

fn ids(task: &Task) -> Vec<(&'static str, String)> {
    let cwom = task.status.clone().unwrap().cwom.expect("the status names the objects");
    let id = |id: Option<String>| id.expect("every id is there");
    vec![
        ("cwom_repos", id(cwom.repo_id)),
        ("cwom_issues", id(cwom.issue_id)),
        ("cwom_context_packets", id(cwom.context_packet_id)),
        ("cwom_constraint_snapshots", id(cwom.constraint_snapshot_id)),
        ("cwom_runs", id(cwom.run_id)),
    ]
}

#[tokio::test]
async fn a_task_and_what_it_was_made_of_and_what_came_out() {
    let world = World::shared("causality").await;
    world.create(task("caused", json!({"acceptanceCriteria": ["There is a report"]}))).await;
    let task = world.wait_for("caused", "Completed").await;
    let trace_id = task.status.as_ref().unwrap().trace_id.clone().unwrap();

    let ids = ids(&task);
    for (table, sql) in [
        ("cwom_issues", "SELECT spec, trace_id, status FROM cwom_issues WHERE id = $1"),
        ("cwom_context_packets", "SELECT spec, trace_id FROM cwom_context_packets WHERE id = $1"),
        ("cwom_constraint_snapshots", "SELECT spec, trace_id FROM cwom_constraint_snapshots WHERE id = $1"),
        ("cwom_runs", "SELECT spec, trace_id, status, mode FROM cwom_runs WHERE id = $1"),
    ] {
        let (_, id) = ids.iter().find(|(name, _)| *name == table).unwrap();
        let rows = query(&world, sql, id).await;
        assert_eq!(rows.len(), 1, "{table}");
        assert_eq!(rows[0].get::<String, _>(1), trace_id, "{table}");
        let spec = spec_in(&rows[0], 0);
        match table {
            "cwom_issues" => assert_eq!(
                (rows[0].get(2), &spec["acceptance"]["criteria"]),
                ("done".to_owned(), &json!(["There is a report"]))
            ),
            "cwom_runs" => {
                let (status, mode): (String, String) = (rows[0].get(2), rows[0].get(3));
                assert_eq!((status.as_str(), mode.as_str()), ("done", "system"), "{spec}");
                assert_eq!(spec["meta"]["task"]["commit"], json!(task.status.as_ref().unwrap().commit));
            }
            _ => {}
        }
    }
    let (run, issue) = (&ids[4].1, &ids[1].1);
    let sql = "SELECT spec, type FROM cwom_artifacts WHERE run_id = $1";
    let artifacts: Vec<(Value, String)> =
        query(&world, sql, run).await.iter().map(|row| (spec_in(row, 0), row.get(1))).collect();
    let (report, kind) = artifacts
        .iter()
        .find(|(artifact, _)| artifact["uri"].as_str().unwrap().ends_with("/report.md"))
        .expect("the report");
    assert_eq!((&report["verification"]["status"], kind.as_str()), (&json!("passed"), "report"));
    let sql = "SELECT checksum FROM artifacts WHERE task_id = $1 AND uri LIKE '%/artifacts/report.md'";
    let checksum: String = query(&world, sql, &id(&task)).await[0].get(0);
    assert_eq!(report["digest"], json!(format!("sha256:{checksum}")));
    let linked = query(&world, "SELECT context_packet_id FROM cwom_issue_context_packets WHERE issue_id = $1", issue);
    assert_eq!(linked.await.len(), 1);

    let entries = audit(&["--trace", &trace_id]).await;
    let of = |kind: &str, action: &str| {
        entries.iter().filter(|entry| entry["entity_kind"] == kind && entry["action"] == action).count()
    };
    assert_eq!((of("Issue", "created"), of("Run", "created")), (1, 1));
    let links = |kind: &str| {
        let created = entries.iter().find(|entry| entry["entity_kind"] == kind && entry["action"] == "created");
        created.and_then(|entry| entry["after"]["links"].as_array()).map_or(0, Vec::len)
    };
    assert_eq!((links("Issue"), links("Run")), (2, 1), "told by the entry of what they are of");
    assert_eq!(of("Artifact", "created"), artifacts.len());
    println!("STORY of one Task: {} audit entries, {} artifacts", entries.len(), artifacts.len());
}

#[tokio::test]
async fn a_task_that_wants_no_objects_makes_none() {
    let world = World::shared("causality").await;
    world.create(task("plain", json!({"createCwom": false}))).await;
    let task = world.wait_for("plain", "Completed").await;
    assert_eq!(task.status.as_ref().unwrap().cwom, None);
    assert_eq!(query(&world, "SELECT id FROM cwom_issues WHERE task_id = $1", &id(&task)).await.len(), 0);
}
