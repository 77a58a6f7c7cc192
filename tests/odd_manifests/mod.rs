//! Odd manifests, and what becomes of each: `tests/commands/check.rs` holds `jct check` against it, `tests/e2e/offline_gate.rs` kubectl and a
//! real API server, with and without JCT's webhooks.

mod object;
mod text;

use Verdict::{Accepted, Refused};

/// What becomes of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Refused,
}

/// A manifest that somebody could write.
#[derive(Clone, Debug)]
pub struct Odd {
    pub name: String,
    pub bytes: Vec<u8>,
    /// What `kubectl create` gets for an answer.
    pub cluster: Verdict,
    /// The same while JCT's webhooks are not there. What is let through then is refused by the controller, or runs.
    pub without_webhooks: Verdict,
    /// What `jct check` says.
    pub check: Verdict,
    /// Why `jct check` can't agree with the cluster, or is not to.
    pub differs: Option<&'static str>,
}

const HEAD: &str = "apiVersion: jct.dev/v1\nkind: Task\nmetadata:\n  name: odd\n";
const SPEC: &str = "spec:\n  requestedBy: {kind: human, id: ada}\n  objective: Look around\n  operation: analysis\n  \
                    target: {repo: demo/hello}\n";

/// The ordinary Task.
pub fn task() -> String {
    format!("{HEAD}{SPEC}")
}

/// With another line in its spec; one that is there is replaced.
fn spec(line: &str) -> String {
    let field = line.split(':').next().unwrap_or_default();
    let kept: String = SPEC.split_inclusive('\n').filter(|old| old.trim().split(':').next() != Some(field)).collect();
    format!("{HEAD}{kept}  {line}\n")
}

/// With other metadata.
fn metadata(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: jct.dev/v1\nkind: Task\nmetadata:\n{lines}{SPEC}")
}

fn json() -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "jct.dev/v1", "kind": "Task", "metadata": {"name": "odd"},
        "spec": {"requestedBy": {"kind": "human", "id": "ada"}, "objective": "Look around", "operation": "analysis",
                 "target": {"repo": "demo/hello"}},
    })
}

/// JSON with more in its spec.
fn json_with(more: &str) -> String {
    let text = json().to_string();
    format!("{},{more}}}}}", text.strip_suffix("}}").unwrap_or_default())
}

fn nested(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

#[derive(Default)]
struct Corpus(Vec<Odd>);

impl Corpus {
    fn add(&mut self, name: &str, bytes: impl Into<Vec<u8>>, verdict: Verdict) -> &mut Odd {
        let (name, bytes) = (name.to_owned(), bytes.into());
        assert!(self.0.iter().all(|odd| odd.name != name), "{name} is there twice");
        self.0.push(Odd { name, bytes, cluster: verdict, without_webhooks: verdict, check: verdict, differs: None });
        self.0.last_mut().unwrap()
    }

    fn good(&mut self, name: &str, bytes: impl Into<Vec<u8>>) -> &mut Odd {
        self.add(name, bytes, Accepted)
    }

    fn bad(&mut self, name: &str, bytes: impl Into<Vec<u8>>) -> &mut Odd {
        self.add(name, bytes, Refused)
    }

    /// Refused by the policy, which the schema doesn't know.
    fn policy(&mut self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.bad(name, bytes).without_webhooks = Accepted;
    }

    /// Accepted by the cluster, and not by `jct check`, for a reason.
    fn stricter(&mut self, name: &str, bytes: impl Into<Vec<u8>>, why: &'static str) {
        let odd = self.good(name, bytes);
        odd.check = Refused;
        odd.differs = Some(why);
    }

    /// Refused by the cluster, and not by `jct check`, for a reason.
    fn laxer(&mut self, name: &str, bytes: impl Into<Vec<u8>>, why: &'static str) {
        let odd = self.bad(name, bytes);
        odd.check = Accepted;
        odd.differs = Some(why);
    }
}

/// All of them.
pub fn corpus() -> Vec<Odd> {
    let mut corpus = Corpus::default();
    text::scalars(&mut corpus);
    text::structure(&mut corpus);
    text::documents(&mut corpus);
    text::json_forms(&mut corpus);
    object::object(&mut corpus);
    object::names_and_labels(&mut corpus);
    object::fields(&mut corpus);
    object::sizes(&mut corpus);
    object::work_objects(&mut corpus);
    corpus.0
}
