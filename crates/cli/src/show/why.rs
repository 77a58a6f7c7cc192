//! The story of a Task as a tree: who asked, what was decided, what ran, what came out; each with its time and id.

use jct_domain::shown::plain;
use serde_json::Value;

use super::{Style, bytes, time};
use crate::tasks::text;

/// How many files of a trace, and how many entries and causes, are named.
const NAMED: usize = 40;

/// A node, and what follows from it.
struct Node {
    label: &'static str,
    detail: String,
    children: Vec<Node>,
}

impl Node {
    fn new(label: &'static str, detail: String) -> Self {
        Self { label, detail, children: Vec::new() }
    }

    fn with(label: &'static str, detail: String, children: Vec<Self>) -> Self {
        Self { label, detail, children }
    }

    fn write(&self, before: &str, is_last: bool, style: Style, out: &mut String) {
        let (branch, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let label = style.bold(&format!("{:<10}", self.label));
        out.push_str(format!("{before}{branch}{label} {}", self.detail).trim_end());
        out.push('\n');
        write_all(&self.children, &format!("{before}{below}"), style, out);
    }
}

fn write_all(nodes: &[Node], before: &str, style: Style, out: &mut String) {
    for (index, node) in nodes.iter().enumerate() {
        node.write(before, index + 1 == nodes.len(), style, out);
    }
}

/// The story that `/trace/{trace_id}` tells, of this Task.
pub fn shown(task: &Value, story: &Value, style: Style) -> String {
    let (objects, audit) = (list(&story["objects"]), list(&story["audit"]));
    let id = text(task, "id");
    let about = |entry: &&&Value| text(entry, "entity_id") == id;
    let asked = audit.iter().find(about);
    let mut nodes = vec![asked_by(task, asked.copied())];
    nodes.push(gate(task, &objects, asked.copied()));
    nodes.extend(causes(&objects));
    nodes.extend(attempts(id, &objects, style));
    nodes.push(outcome(task, style));
    nodes.push(record(&audit, id));
    let head = format!(
        "Task {}  {}  {}\ntrace {}\n",
        style.bold(&format!("{}/{}", of(task, "namespace"), of(task, "name"))),
        of(task, "id"),
        style.status(&of(task, "status")),
        of(task, "trace_id"),
    );
    let mut out = head;
    write_all(&nodes, "", style, &mut out);
    out
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().into_iter().flatten().collect()
}

fn of(value: &Value, field: &str) -> String {
    plain(text(value, field))
}

fn asked_by(task: &Value, entry: Option<&Value>) -> Node {
    let requester = &task["requested_by"];
    let submitter = match text(task, "submitted_by") {
        "" => "nobody vouches for who submitted it".to_owned(),
        user => format!("submitted by {}", plain(user)),
    };
    let detail = format!(
        "{} {}, {submitter}  {}",
        of(requester, "kind"),
        of(requester, "id"),
        time::second(&task["created_at"])
    );
    let entry = entry.map(|entry| Node::new("entry", format!("{}  {}", of(entry, "id"), of(entry, "action"))));
    Node::with("asked", detail, entry.into_iter().chain([Node::new("objective", of(task, "objective"))]).collect())
}

/// That it is recorded says that the gate let it in; under which constraints the snapshot tells.
fn gate(task: &Value, objects: &[&Value], entry: Option<&Value>) -> Node {
    let constraints = &task["constraints"];
    let yes = |name: &str| if constraints[name] == true { "allowed" } else { "not allowed" };
    let detail = format!(
        "let in  {}  budget {}, network {}, secrets {}",
        entry.map_or_else(|| "-".to_owned(), |entry| time::second(&entry["ts"])),
        constraints["time_budget_seconds"].as_i64().map_or_else(|| "-".to_owned(), time::ago),
        yes("allow_network"),
        yes("allow_secrets"),
    );
    let policies =
        objects.iter().filter(|object| ["ConstraintSnapshot", "DoctrineRef"].contains(&text(object, "kind")));
    Node::with("gate", detail, policies.take(NAMED).map(|object| cause(object)).collect())
}

fn causes(objects: &[&Value]) -> Vec<Node> {
    let kinds = ["Repo", "Issue", "ContextPacket"];
    let causes: Vec<Node> = objects
        .iter()
        .filter(|object| kinds.contains(&text(object, "kind")))
        .take(NAMED)
        .map(|object| cause(object))
        .collect();
    if causes.is_empty() {
        Vec::new()
    } else {
        vec![Node::with("work", "objects that tell what it is about".into(), causes)]
    }
}

fn cause(object: &Value) -> Node {
    let called = ["slug", "title", "name", "summary", "version"].iter().map(|field| of(object, field));
    let called = called.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    let label = match text(object, "kind") {
        "Repo" => "Repo",
        "Issue" => "Issue",
        "ContextPacket" => "Context",
        "ConstraintSnapshot" => "Constraint",
        "DoctrineRef" => "Doctrine",
        "Artifact" => "Artifact",
        _ => "object",
    };
    Node::new(
        label,
        format!("{}  {called}  {}", of(object, "id"), time::second(&object["created_at"])).trim_end().to_owned(),
    )
}

/// The attempts of the Task: of each what stands in the story between its Run or Job and the next.
fn attempts(id: &str, objects: &[&Value], style: Style) -> Vec<Node> {
    let mut attempts: Vec<Node> = Vec::new();
    let mut run: Option<&Value> = None;
    let mut current = "";
    for object in objects {
        match text(object, "kind") {
            "Task" => (current, run) = (text(object, "id"), None),
            _ if current != id => {}
            "Run" => run = Some(object),
            "Job" => attempts.push(attempt(object, run.take(), style)),
            "TraceFile" => {
                let size = object["size_bytes"].as_u64().unwrap_or_default();
                let uri = of(object, "uri");
                let path = uri.splitn(4, '/').last().unwrap_or_default().to_owned();
                let digest: String = text(object, "checksum").chars().take(12).collect();
                let detail = format!("{path}  {}  {}  {}…", bytes(size), of(object, "file_kind"), plain(&digest));
                add(attempts.last_mut(), Node::new("file", detail));
            }
            "Artifact" => add(attempts.last_mut(), cause(object)),
            _ => {}
        }
    }
    attempts
}

/// Adds what an attempt left, up to a number.
fn add(attempt: Option<&mut Node>, node: Node) {
    let Some(attempt) = attempt else { return };
    match attempt.children.len() {
        n if n < NAMED => attempt.children.push(node),
        NAMED => attempt.children.push(Node::new("…", "and more: kubectl jct trace ls".into())),
        _ => {}
    }
}

fn attempt(job: &Value, run: Option<&Value>, style: Style) -> Node {
    let detail = format!(
        "{}  {}  {} to {}",
        job["attempt"],
        style.status(&of(job, "status")),
        time::second(&job["started_at"]),
        time::second(&job["ended_at"]),
    );
    let mut children: Vec<Node> = run.map(|run| Node::new("Run", run_detail(run))).into_iter().collect();
    children
        .push(Node::new("Job", format!("{}  {}  pod {}", of(job, "id"), of(job, "job_name"), of(job, "worker_id"))));
    let commit = of(job, "commit");
    if !commit.is_empty() {
        children.push(Node::new("commit", commit));
    }
    if let Some(error) = job["error"].as_object() {
        let part = |field: &str| plain(error.get(field).and_then(Value::as_str).unwrap_or_default());
        children.push(Node::new("error", format!("{}: {}", style.red(&part("reason")), part("message"))));
    }
    if let Some(digest) = job["manifest_sha256"].as_str() {
        let announced =
            if job["manifest_announced"] == true { "announced by its worker" } else { "found on the volume" };
        let files = job["trace_files"].as_i64().unwrap_or_default();
        children.push(Node::new("trace", format!("{files} files, sealed as {}, {announced}", plain(digest))));
    }
    Node::with("attempt", detail, children)
}

/// A Run, with what it cost, as far as that is known.
fn run_detail(run: &Value) -> String {
    let (cost, runtime) = (&run["cost"], of(&run["executor"], "runtime"));
    let number = |field: &str| Some(&cost[field]).filter(|value| value.is_number()).map(Value::to_string);
    let cost = [("tokens", number("tokens")), ("usd", number("usd")), ("compute_s", number("compute_s"))];
    let cost: Vec<String> = cost.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?))).collect();
    let actor = of(&run["executor"]["actor"], "actor_id");
    let parts = [of(run, "id"), of(run, "status"), actor, runtime, cost.join(", ")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

fn outcome(task: &Value, style: Style) -> Node {
    let detail = match (task["error"].as_object(), task["result"]["summary"].as_str()) {
        (Some(error), _) => {
            let part = |field: &str| plain(error.get(field).and_then(Value::as_str).unwrap_or_default());
            format!("{}: {}", part("reason"), part("message"))
        }
        (None, Some(summary)) => plain(summary),
        (None, None) => String::new(),
    };
    Node::new(
        "outcome",
        format!("{}  {}  {detail}", style.status(&of(task, "status")), time::second(&task["completed_at"])),
    )
}

fn record(audit: &[&Value], id: &str) -> Node {
    let about: Vec<&&Value> = audit.iter().filter(|entry| text(entry, "entity_id") == id).collect();
    let skipped = about.len().saturating_sub(NAMED);
    let detail = format!("{} entries of this trace, {} of the Task itself", audit.len(), about.len());
    let entries = about.iter().skip(skipped).map(|entry| {
        let state = |value: &Value| plain(value["status"].as_str().unwrap_or_default());
        let (before, after) = (state(&entry["before"]), state(&entry["after"]));
        let change = if before.is_empty() { after } else { format!("{before} -> {after}") };
        let detail = format!(
            "{}  {}  {}  {} {change}",
            of(entry, "ts"),
            of(entry, "id"),
            of(entry, "actor_id"),
            of(entry, "action")
        );
        Node::new("entry", detail.trim_end().to_owned())
    });
    Node::with("record", detail, entries.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TASK: &str = "01KJMMA2G027CE4HT1RZKZBW4A";

    fn story() -> (Value, Value) {
        let task = json!({
            "kind": "Task", "id": TASK, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "name": "analysis", "namespace": "team",
            "status": "completed", "requested_by": {"kind": "human", "id": "ada"}, "submitted_by": "ada@example.org",
            "objective": "Look around", "created_at": "2026-03-01T12:00:00Z", "completed_at": "2026-03-01T12:00:08Z",
            "constraints": {"time_budget_seconds": 900, "allow_network": false, "allow_secrets": false},
            "error": null, "result": {"summary": "analysed 1 files"},
        });
        let job = json!({
            "kind": "Job", "id": "01KJMMA2G027CE4HT1RZKZBW4J", "task_id": TASK, "attempt": 1, "status": "completed",
            "job_name": "t-1", "worker_id": "t-1-x", "commit": "c0ffee", "started_at": "2026-03-01T12:00:01Z",
            "ended_at": "2026-03-01T12:00:07Z", "manifest_sha256": "ab12", "manifest_announced": true, "trace_files": 2, "error": null,
        });
        let run = json!({
            "kind": "Run", "id": "01KJMMA2G027CE4HT1RZKZBW4R", "status": "done",
            "executor": {"actor": {"actor_id": "analysis"}, "runtime": "jct"}, "cost": {"tokens": 1200, "usd": 0.05, "compute_s": null},
        });
        let file = json!({
            "kind": "TraceFile", "id": "x", "uri": format!("team/{TASK}/1/artifacts/report.md"), "size_bytes": 1536,
            "file_kind": "report", "checksum": "845e91831319e89c",
        });
        let objects = json!([
            {"kind": "Repo", "id": "01KJMMA2G027CE4HT1RZKZBW4P", "slug": "octo/hello", "created_at": "2026-03-01T12:00:00Z"},
            {"kind": "ConstraintSnapshot", "id": "01KJMMA2G027CE4HT1RZKZBW4C", "created_at": "2026-03-01T12:00:00Z"},
            task, run, job, file,
            {"kind": "Task", "id": "another"}, {"kind": "Job", "id": "of-another", "attempt": 1},
        ]);
        let entry = |id: &str, action: &str, before: Value, after: Value| {
            json!({"id": id, "ts": "2026-03-01T12:00:00.5Z", "actor_id": "ada@example.org", "action": action,
                   "entity_id": TASK, "before": before, "after": after})
        };
        let audit = json!([
            entry("01KJMMA2G027CE4HT1RZKZBW41", "created", Value::Null, json!({"status": "queued"})),
            {"id": "of-another", "entity_id": "another"},
            entry("01KJMMA2G027CE4HT1RZKZBW42", "status_changed", json!({"status": "queued"}), json!({"status": "running"})),
        ]);
        (task, json!({"objects": objects, "audit": audit}))
    }

    #[test]
    fn the_story_of_a_task_is_a_tree() {
        let (task, story) = story();
        insta::assert_snapshot!(shown(&task, &story, Style::default()));
    }

    #[test]
    fn a_hostile_story_is_harmless_and_bounded() {
        fn poison(value: &mut Value) {
            match value {
                Value::String(text) if !["Task", "Run", "Job", "TraceFile", TASK].contains(&text.as_str()) => {
                    text.push_str("\u{1b}[2J\n\u{202e}");
                }
                Value::Array(items) => items.iter_mut().for_each(poison),
                Value::Object(fields) => fields.values_mut().for_each(poison),
                _ => {}
            }
        }
        let (mut task, mut story) = story();
        poison(&mut task);
        poison(&mut story);
        let file = story["objects"][5].clone();
        let objects = story["objects"].as_array_mut().unwrap();
        (0..500).for_each(|_| objects.insert(6, file.clone()));
        let tree = shown(&task, &story, Style::default());
        assert!(!tree.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{tree:?}");
        assert!((10..80).contains(&tree.lines().count()), "{}", tree.lines().count());
    }
}
