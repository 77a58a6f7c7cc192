//! What led to what, as a picture: who asked and what it is about, the Task, its attempts, and what came out. SVG made here, of
//! texts that are escaped here.

use std::fmt::Write as _;

use serde_json::Value;

use super::{cut, list, short, status, text};
use crate::domain::cwom::Kind;

/// The size of a node, and the room between two.
const NODE: (usize, usize) = (216, 52);
const GAP: (usize, usize) = (60, 16);
const EDGE: usize = 8;
/// How many nodes a column has.
const MOST: usize = 12;

struct Node {
    kind: String,
    label: String,
    class: &'static str,
    link: String,
}

/// The picture, and the same as a list of sentences.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Markup.
    pub svg: String,
    /// Each kind, label, and where more of it is told.
    pub nodes: Vec<(String, String, String)>,
}

/// The picture of the story that `/trace/{trace_id}` tells, about this Task.
pub fn picture(task: &Value, story: &Value) -> Picture {
    let id = text(task, "/id");
    let objects = list(&story["objects"]);
    let requester = Node {
        kind: format!("Requested by {}", text(task, "/requested_by/kind")),
        label: text(task, "/requested_by/id"),
        class: "who",
        link: String::new(),
    };
    let before = ["Repo", "Issue", "ContextPacket", "ConstraintSnapshot", "DoctrineRef"];
    let is_cause = |object: &&Value| before.contains(&object["kind"].as_str().unwrap_or_default());
    let causes = objects.iter().filter(is_cause).map(object);
    let first: Vec<Node> = std::iter::once(requester).chain(causes).collect();
    let (_, class) = status(&text(task, "/status"));
    let name = format!("{}/{}", text(task, "/namespace"), text(task, "/name"));
    let own = vec![Node { kind: "Task".into(), label: name, class, link: format!("/console/tasks/{id}") }];
    let (attempts, results) = attempts(&id, objects);
    drawn(vec![first, own, attempts, results])
}

/// The attempts of the Task, and what they left: what stands in the story behind the Task and before the next one.
fn attempts(id: &str, objects: &[Value]) -> (Vec<Node>, Vec<Node>) {
    let (mut attempts, mut results, mut files, mut current) = (Vec::new(), Vec::new(), 0_usize, false);
    for object in objects {
        match object["kind"].as_str().unwrap_or_default() {
            "Task" => current = text(object, "/id") == id,
            "Job" if current => {
                let (detail, class) = status(&text(object, "/status"));
                let kind = format!("Attempt {}: {}", text(object, "/attempt"), detail.to_lowercase());
                let label = text(object, "/worker_id");
                attempts.push(Node {
                    kind,
                    label,
                    class,
                    link: format!("/console/tasks/{id}/log?attempt={}", text(object, "/attempt")),
                });
            }
            "TraceFile" if current => files += 1,
            "Artifact" if current => results.push(self::object(object)),
            _ => {}
        }
    }
    if files > 0 {
        let link = format!("/console/tasks/{id}/files");
        results.push(Node { kind: "Trace".into(), label: format!("{files} files"), class: "object", link });
    }
    (attempts, results)
}

fn object(object: &Value) -> Node {
    let kind = text(object, "/kind");
    let called = ["/title", "/slug", "/name", "/summary", "/scope"].iter().map(|field| text(object, field));
    let called = called.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    let plural = Kind::parse(&kind).map(Kind::collection);
    let link = plural.map(|plural| format!("/console/objects/{plural}/{}", text(object, "/id"))).unwrap_or_default();
    Node { kind, label: called, class: "object", link }
}

/// Columns of nodes, each with lines from those of the column before.
fn drawn(mut columns: Vec<Vec<Node>>) -> Picture {
    columns.retain(|column| !column.is_empty());
    for column in &mut columns {
        if column.len() > MOST {
            let more = column.len() - MOST + 1;
            column.truncate(MOST - 1);
            let label = format!("and {more} more");
            column.push(Node { kind: String::new(), label, class: "off", link: String::new() });
        }
    }
    let tallest = columns.iter().map(Vec::len).max().unwrap_or(1);
    let height_of = |count: usize| count * NODE.1 + count.saturating_sub(1) * GAP.1;
    let (width, height) = (columns.len() * (NODE.0 + GAP.0) - GAP.0 + 2 * EDGE, height_of(tallest) + 2 * EDGE);
    let top = |column: &[Node], index: usize| {
        EDGE + (height - 2 * EDGE - height_of(column.len())) / 2 + index * (NODE.1 + GAP.1)
    };
    let left = |column: usize| EDGE + column * (NODE.0 + GAP.0);
    let mut svg = format!(
        "<svg class=\"causes\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"group\" \
         aria-label=\"What led to what, from left to right\">"
    );
    for (number, pair) in columns.windows(2).enumerate() {
        let [from, to] = pair else { continue };
        for a in 0..from.len() {
            for b in 0..to.len() {
                let (x1, y1) = (left(number) + NODE.0, top(from, a) + NODE.1 / 2);
                let (x2, y2) = (left(number + 1), top(to, b) + NODE.1 / 2);
                let middle = x1.midpoint(x2);
                let _ = write!(svg, "<path class=\"edge\" d=\"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}\"/>");
            }
        }
    }
    let mut nodes = Vec::new();
    for (number, column) in columns.iter().enumerate() {
        for (index, node) in column.iter().enumerate() {
            draw(&mut svg, node, left(number), top(column, index));
            nodes.push((node.kind.clone(), node.label.clone(), node.link.clone()));
        }
    }
    svg.push_str("</svg>");
    Picture { svg, nodes }
}

fn draw(svg: &mut String, node: &Node, x: usize, y: usize) {
    let (kind, label) = (escaped(&cut(&node.kind, 26)), escaped(&cut(&node.label, 22)));
    let full = escaped(&format!("{} {}", node.kind, node.label));
    if !node.link.is_empty() {
        let _ = write!(svg, "<a href=\"{}\">", escaped(&node.link));
    }
    let (width, height) = NODE;
    let _ = write!(
        svg,
        "<g class=\"node {}\"><title>{full}</title><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\
         <text x=\"{}\" y=\"{}\" class=\"kind\">{kind}</text><text x=\"{}\" y=\"{}\" class=\"label\">{label}</text></g>",
        node.class,
        x + 12,
        y + 21,
        x + 12,
        y + 40,
    );
    if !node.link.is_empty() {
        svg.push_str("</a>");
    }
}

/// A text as markup that says it.
pub fn escaped(text: &str) -> String {
    let mut markup = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => markup.push_str("&amp;"),
            '<' => markup.push_str("&lt;"),
            '>' => markup.push_str("&gt;"),
            '"' => markup.push_str("&quot;"),
            '\'' => markup.push_str("&#39;"),
            c => markup.push(c),
        }
    }
    markup
}

/// The beginning of an id, where nothing else is there to tell things apart.
pub fn name_or_id(name: &str, id: &str) -> String {
    if name.is_empty() { short(id) } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TASK: &str = "01KJMMA2G027CE4HT1RZKZBW4A";

    fn story(evil: &str) -> (Value, Value) {
        let task = json!({"id": TASK, "namespace": "team", "name": evil, "status": "failed", "requested_by": {"kind": "human", "id": evil}});
        let objects = json!([
            {"kind": "Issue", "id": "01KJMMA2G027CE4HT1RZKZBW41", "title": evil},
            {"kind": "Task", "id": TASK},
            {"kind": "Job", "attempt": 1, "status": "failed", "worker_id": evil},
            {"kind": "TraceFile"}, {"kind": "TraceFile"},
            {"kind": "Artifact", "id": "01KJMMA2G027CE4HT1RZKZBW42", "title": evil},
            {"kind": "Task", "id": "another"},
            {"kind": "Job", "attempt": 9, "status": "failed"},
        ]);
        (task, json!({"objects": objects}))
    }

    #[test]
    fn the_picture_tells_causes_before_effects() {
        let (task, story) = story("x");
        let picture = picture(&task, &story);
        let detail: Vec<_> = picture.nodes.iter().map(|(kind, label, link)| format!("{kind}|{label}|{link}")).collect();
        assert_eq!(
            detail,
            [
                "Requested by human|x|",
                "Issue|x|/console/objects/issues/01KJMMA2G027CE4HT1RZKZBW41",
                &format!("Task|team/x|/console/tasks/{TASK}"),
                &format!("Attempt 1: failed|x|/console/tasks/{TASK}/log?attempt=1"),
                "Artifact|x|/console/objects/artifacts/01KJMMA2G027CE4HT1RZKZBW42",
                &format!("Trace|2 files|/console/tasks/{TASK}/files"),
            ]
        );
    }

    #[test]
    fn names_are_no_markup() {
        let (task, story) = story("\"><script>alert(1)</script>");
        let svg = picture(&task, &story).svg;
        assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;"), "{svg}");
    }

    #[test]
    fn a_column_is_bounded() {
        let (task, mut story) = story("x");
        let issue = story["objects"][0].clone();
        story["objects"].as_array_mut().unwrap().extend(std::iter::repeat_n(issue, 500));
        let picture = picture(&task, &story);
        assert!(picture.nodes.len() < 20 && picture.svg.contains("more"), "{}", picture.nodes.len());
    }
}
