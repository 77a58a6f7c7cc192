//! Large parts of rows, stored once by digest: what a Task is given is also in its ContextPacket, many Tasks are given the
//! same, and the audit log, which is kept for ever, needs no more of it than what proves it.
//!
//! A part that is longer than [`MIN_BYTES`] is taken out of the JSON that holds it; under [`KEY`] that JSON then says where
//! it was, and its digest and size. No object and no Task has a field of that name, so this can't be forged by what users
//! write. A column that is such a part as a whole holds the digest as a JSON text, where else there is an object.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Result;
use super::columns::{columns, insert_into};
use super::conn::{Conn, RawRow, Values, execute, fetch};
use super::error::StoreError;
use jct_domain::audit::EntityKind;
use jct_domain::id::sha256_hex;

/// What is no longer than this stays where it is.
pub(super) const MIN_BYTES: usize = 1024;

/// The field that tells which parts were taken out.
pub(super) const KEY: &str = "contents";

/// What the column of a whole part begins with.
const DIGEST: &str = "\"sha256:";

/// A part, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) sha256: String,
    pub(super) body: String,
}

impl Content {
    fn new(body: String) -> Self {
        Self { sha256: sha256_hex(body.as_bytes()), body }
    }
}

/// What stands in place of a part, under the JSON pointer (RFC 6901) of where it was.
#[derive(Debug, Serialize, Deserialize)]
struct Digest {
    sha256: String,
    size_bytes: usize,
}

/// Where the JSON of a kind can have large parts, the inner ones first; `*` is every entry of a list.
fn places(kind: EntityKind) -> &'static [&'static [&'static str]] {
    match kind {
        EntityKind::Task => &[&["inputs"], &["metadata"]],
        EntityKind::Issue => &[&["meta", "task", "metadata"], &["meta"]],
        EntityKind::ContextPacket => &[&["inputs", "data_blobs", "*", "inline"], &["meta"]],
        EntityKind::Repo
        | EntityKind::ConstraintSnapshot
        | EntityKind::DoctrineRef
        | EntityKind::Run
        | EntityKind::Artifact => &[&["meta"]],
        EntityKind::Job
        | EntityKind::Trace
        | EntityKind::EvidencePack
        | EntityKind::ReviewDecision
        | EntityKind::AdmissionDenial
        | EntityKind::Database => &[],
    }
}

/// Takes the large parts out of the JSON of a `kind`.
pub(super) fn take_out(kind: EntityKind, json: &mut Value) -> Vec<Content> {
    let mut taken = BTreeMap::new();
    for place in places(kind) {
        take(json, place, String::new(), &mut taken);
    }
    let Some(fields) = json.as_object_mut().filter(|_| !taken.is_empty()) else { return Vec::new() };
    let digest = |content: &Content| Digest { sha256: content.sha256.clone(), size_bytes: content.body.len() };
    let digests: BTreeMap<&String, Digest> = taken.iter().map(|(at, content)| (at, digest(content))).collect();
    fields.insert(KEY.into(), serde_json::to_value(digests).unwrap_or_default());
    taken.into_values().collect()
}

fn take(json: &mut Value, place: &[&str], at: String, taken: &mut BTreeMap<String, Content>) {
    match (place, json) {
        (["*", rest @ ..], Value::Array(entries)) => {
            for (index, entry) in entries.iter_mut().enumerate() {
                take(entry, rest, format!("{at}/{index}"), taken);
            }
        }
        ([name], Value::Object(fields)) => {
            let body = match fields.get(*name) {
                Some(Value::String(text)) => text.clone(),
                Some(part @ Value::Object(_)) => part.to_string(),
                _ => return,
            };
            if body.len() > MIN_BYTES {
                fields.remove(*name);
                taken.insert(format!("{at}/{name}"), Content::new(body));
            }
        }
        ([name, rest @ ..], Value::Object(fields)) => {
            if let Some(part) = fields.get_mut(*name) {
                take(part, rest, format!("{at}/{name}"), taken);
            }
        }
        _ => {}
    }
}

/// The digests of what was taken out of the JSON in a column.
pub(super) fn digests_in(json: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Taken {
        #[serde(default)]
        contents: BTreeMap<String, Digest>,
    }
    // Most rows have none, and need not be read twice.
    if !json.contains("\"contents\":{\"/") {
        return Vec::new();
    }
    let taken = serde_json::from_str::<Taken>(json).map(|taken| taken.contents).unwrap_or_default();
    taken.into_values().map(|digest| digest.sha256).collect()
}

/// Puts back what was taken out.
///
/// # Errors
/// Which part is not there.
pub(super) fn put_back(json: &mut Value, contents: &Contents) -> std::result::Result<(), String> {
    let Some(taken) = json.as_object_mut().and_then(|fields| fields.remove(KEY)) else { return Ok(()) };
    let taken: BTreeMap<String, Digest> = serde_json::from_value(taken).map_err(|error| error.to_string())?;
    // What is around a part comes before it.
    for (at, digest) in taken {
        let (parent, name) = at.rsplit_once('/').ok_or_else(|| format!("{at:?} is no place"))?;
        let body = contents.get(&digest.sha256)?;
        let part = if name == "inline" {
            Value::from(body)
        } else {
            serde_json::from_str(body).map_err(|error| format!("content {}: {error}", digest.sha256))?
        };
        let fields = json.pointer_mut(parent).and_then(Value::as_object_mut);
        fields.ok_or_else(|| format!("there is no {parent:?}"))?.insert(name.into(), part);
    }
    Ok(())
}

/// A column that is a part as a whole: what it holds, and what is stored elsewhere.
pub(super) fn column(json: String) -> (String, Option<Content>) {
    if json.len() <= MIN_BYTES {
        return (json, None);
    }
    let content = Content::new(json);
    (format!("{DIGEST}{}\"", content.sha256), Some(content))
}

/// The digest in a column that is a part as a whole, if it was taken out.
pub(super) fn digest_of_column(column: &str) -> Option<&str> {
    column.strip_prefix(DIGEST)?.strip_suffix('"')
}

/// Contents by digest, as read from the database.
#[derive(Debug, Default)]
pub(super) struct Contents {
    bodies: HashMap<String, String>,
    /// What stands in for any content, where only the form of a row is looked at.
    any: bool,
}

impl Contents {
    /// Has every content, and all of them are empty.
    pub(super) fn any() -> Self {
        Self { any: true, ..Self::default() }
    }

    pub(super) fn get(&self, sha256: &str) -> std::result::Result<&str, String> {
        let body = self.bodies.get(sha256).map(String::as_str);
        body.or(self.any.then_some("{}")).ok_or_else(|| format!("its content {sha256} is not there, or was changed"))
    }

    /// Reads the contents with these digests; one that does not match its digest counts as missing.
    pub(super) async fn load(conn: &mut Conn<'_>, mut digests: Vec<String>) -> Result<Self> {
        digests.sort_unstable();
        digests.dedup();
        let rows = digests.into_iter().map(|digest| vec![digest.into()]).collect();
        let rows: Vec<(String, String)> = BODIES.fetch(conn, rows).await?;
        let bodies = rows.into_iter().filter(|(sha256, body)| sha256_hex(body.as_bytes()) == *sha256).collect();
        Ok(Self { bodies, any: false })
    }
}

pub(super) const BODIES: Values =
    Values { before: "SELECT sha256, body FROM contents WHERE sha256 IN (VALUES", width: 1, after: ")" };
pub(super) const KNOWN: Values =
    Values { before: "SELECT sha256, sha256 FROM contents WHERE sha256 IN (VALUES", width: 1, after: ")" };
columns! {
    pub(super) struct ContentColumns {
        sha256: String,
        size_bytes: i64,
        body: String,
    }
}

columns! {
    /// Which row has, or had, which content.
    pub(super) struct ContentRefColumns {
        owner_id: String,
        sha256: String,
    }
}

const INSERT: Values = insert_into!("contents", ContentColumns, " ON CONFLICT DO NOTHING");
const INSERT_REFS: Values = insert_into!("content_refs", ContentRefColumns, " ON CONFLICT DO NOTHING");

/// Stores contents with the ids of the rows that they were taken out of; those that are there already are not sent again.
pub(super) async fn save(conn: &mut Conn<'_>, contents: Vec<(String, Content)>) -> Result<()> {
    if contents.is_empty() {
        return Ok(());
    }
    let refs = contents.iter().map(|(owner_id, content)| {
        ContentRefColumns { owner_id: owner_id.clone(), sha256: content.sha256.clone() }.into_arguments()
    });
    let refs = refs.collect();
    let mut new: BTreeMap<String, String> =
        contents.into_iter().map(|(_, content)| (content.sha256, content.body)).collect();
    let known: Vec<(String, String)> =
        KNOWN.fetch(conn, new.keys().map(|sha256| vec![sha256.into()]).collect()).await?;
    for (sha256, _) in known {
        new.remove(&sha256);
    }
    // One by one: together they may be more than a statement can have.
    for (sha256, body) in new {
        let size_bytes = i64::try_from(body.len()).unwrap_or(i64::MAX);
        INSERT.execute(conn, vec![ContentColumns { sha256, size_bytes, body }.into_arguments()]).await?;
    }
    INSERT_REFS.execute(conn, refs).await?;
    Ok(())
}

/// The rows that retention removes: `$1` is the Task, `$2` the Issue that goes with it, or empty.
const OWNERS: &str = "SELECT $1 UNION ALL SELECT $2 \
     UNION ALL SELECT id FROM cwom_context_packets WHERE issue_id = $2 \
     UNION ALL SELECT id FROM cwom_runs WHERE issue_id = $2 \
     UNION ALL SELECT id FROM cwom_artifacts WHERE issue_id = $2";

/// Takes off the contents of a Task, and of the Issue that goes with it, before their rows are removed. What no other row
/// has is deleted.
pub(super) async fn remove(conn: &mut Conn<'_>, task_id: &str, issue: Option<&str>) -> Result<()> {
    let issue = issue.unwrap_or_default();
    let owners = fetch!((String,), conn, OWNERS, task_id, issue)?;
    for (owner,) in owners {
        let held = fetch!((String,), conn, "SELECT sha256 FROM content_refs WHERE owner_id = $1", &owner)?;
        execute!(conn, "DELETE FROM content_refs WHERE owner_id = $1", &owner)?;
        for (sha256,) in held {
            let unused = "DELETE FROM contents WHERE sha256 = $1 \
                          AND NOT EXISTS (SELECT 1 FROM content_refs r WHERE r.sha256 = $1)";
            execute!(conn, unused, sha256)?;
        }
    }
    Ok(())
}

/// Whether `row`, of all columns, is what its digest says.
pub(super) fn content_parses(row: &RawRow) -> Result<()> {
    let ContentColumns { sha256, size_bytes, body } = row.read()?;
    if sha256_hex(body.as_bytes()) != sha256 || usize::try_from(size_bytes) != Ok(body.len()) {
        return Err(StoreError::corrupt("contents", sha256, "the body was changed: it is not what its digest says"));
    }
    Ok(())
}

/// The JSON of an audit entry, as it is written down.
pub(super) fn in_digests(kind: EntityKind, json: Option<Value>) -> Option<Value> {
    json.map(|json| taken_out(kind, json))
}

/// The JSON of a `kind`, its large parts by their digests.
pub(super) fn taken_out(kind: EntityKind, mut json: Value) -> Value {
    take_out(kind, &mut json);
    json
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(contents: Vec<Content>) -> Contents {
        Contents { bodies: contents.into_iter().map(|content| (content.sha256, content.body)).collect(), any: false }
    }

    fn long() -> String {
        "x".repeat(2000)
    }

    #[test]
    fn what_is_taken_out_comes_back() {
        let cases = [
            (EntityKind::Task, json!({"inputs": {"a": long()}, "metadata": {"b": 1}, "objective": long()}), 1),
            (EntityKind::Issue, json!({"meta": {"task": {"metadata": {"a": long()}, "key": 1}}}), 1),
            (EntityKind::Issue, json!({"meta": {"task": {"metadata": {"a": long()}, "key": long()}}}), 2),
            (EntityKind::Issue, json!({"meta": {"task": 7, "contents": {"/meta": long()}}}), 1),
            (
                EntityKind::ContextPacket,
                json!({"inputs": {"data_blobs": [{"inline": "s"}, {"inline": long()}]}, "meta": {}}),
                1,
            ),
            (EntityKind::Run, json!({"meta": {"a": 1}}), 0),
            (EntityKind::Job, json!({"meta": {"a": long()}}), 0),
        ];
        for (kind, json, parts) in cases {
            let mut stored = json.clone();
            let contents = take_out(kind, &mut stored);
            assert_eq!(contents.len(), parts, "{stored}");
            assert_eq!(digests_in(&stored.to_string()).len(), parts, "{stored}");
            assert!(parts == 0 || stored.to_string().len() < json.to_string().len() - 1500);
            put_back(&mut stored, &all(contents)).unwrap();
            assert_eq!(stored, json);
        }
    }

    #[test]
    fn inputs_are_the_same_content_in_a_task_and_in_its_packet() {
        let inputs = json!({"b": long(), "a": [1.5, "\u{0}"]});
        let (column, of_task) = column(inputs.to_string());
        let mut packet = json!({"inputs": {"data_blobs": [{"inline": inputs.to_string()}]}});
        let of_packet = take_out(EntityKind::ContextPacket, &mut packet);
        let of_task = of_task.unwrap();
        assert_eq!(digest_of_column(&column), Some(of_task.sha256.as_str()));
        assert_eq!(of_packet, [of_task]);
        assert_eq!((digest_of_column("{}"), digest_of_column("{\"a\":\"sha256:\"}")), (None, None));
    }

    #[test]
    fn a_part_that_is_missing_is_told() {
        let mut stored = json!({"meta": {"a": long()}});
        take_out(EntityKind::Run, &mut stored);
        let problem = put_back(&mut stored.clone(), &Contents::default()).unwrap_err();
        assert!(problem.contains("is not there, or was changed"), "{problem}");
        put_back(&mut stored, &Contents::any()).unwrap();
    }
}
