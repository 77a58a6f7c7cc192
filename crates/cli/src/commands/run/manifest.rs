//! Tasks as manifests: of a file, or of arguments.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use jct_domain::shown::plain;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::RunArgs;

/// The longest file that is read, in bytes: the API server takes no object of more.
const MOST: u64 = 3 << 20;
/// The longest id of a requester.
const REQUESTER: usize = 128;

/// A Task that is not made yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask(Value);

impl NewTask {
    /// The manifest of a Task: with a name, or the beginning of one.
    fn of(mut manifest: Value) -> anyhow::Result<Self> {
        let text = |field: &str| manifest[field].as_str().unwrap_or_default();
        if text("kind") != "Task" || text("apiVersion") != "jct.dev/v1" {
            bail!(
                "it is no Task: kind {:?} of apiVersion {:?}; a Task has kind Task, apiVersion jct.dev/v1",
                text("kind"),
                text("apiVersion")
            );
        }
        if !manifest["metadata"].is_object() {
            manifest["metadata"] = json!({});
        }
        let metadata = &mut manifest["metadata"];
        if metadata["name"].is_null() && metadata["generateName"].is_null() {
            metadata["generateName"] = json!("task-");
        }
        Ok(Self(manifest))
    }

    /// A Task that the gate of no installation lets in: its repository has a name that nobody allows.
    pub fn probe() -> Self {
        Self(json!({
            "apiVersion": "jct.dev/v1", "kind": "Task", "metadata": {"generateName": "doctor-"},
            "spec": {
                "requestedBy": {"kind": "human", "id": "doctor"}, "objective": "Look whether the gate answers",
                "operation": "analysis", "target": {"repo": "jct-doctor-probe/no-such-repository"},
            },
        }))
    }

    /// All of it.
    pub fn manifest(&self) -> &Value {
        &self.0
    }

    /// The namespace that it names.
    pub fn namespace(&self) -> Option<&str> {
        self.0.pointer("/metadata/namespace")?.as_str()
    }

    /// What it is called, harmless: its name, or how that begins.
    pub fn called(&self) -> String {
        let text = |path: &str| self.0.pointer(path).and_then(Value::as_str);
        let begins = text("/metadata/generateName").map(|begin| format!("{begin}…"));
        plain(&text("/metadata/name").map(str::to_owned).or(begins).unwrap_or_default())
    }
}

/// The Tasks in a file.
///
/// # Errors
/// If it can't be read, or there is something else in it.
pub fn read_tasks(file: &str) -> anyhow::Result<Vec<NewTask>> {
    let mut text = String::new();
    let read = match file {
        "-" => std::io::stdin().lock().take(MOST).read_to_string(&mut text),
        file => std::fs::File::open(Path::new(file)).and_then(|file| file.take(MOST).read_to_string(&mut text)),
    };
    read.with_context(|| format!("cannot read {file}"))?;
    tasks_in(&text).with_context(|| file.to_owned())
}

fn tasks_in(text: &str) -> anyhow::Result<Vec<NewTask>> {
    let mut tasks = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let manifest = Value::deserialize(document).context("it is no YAML that a manifest could be")?;
        if !manifest.is_null() {
            tasks.push(NewTask::of(manifest)?);
        }
    }
    Ok(tasks)
}

/// The one Task that can be followed.
pub(super) fn one(tasks: Vec<NewTask>) -> anyhow::Result<NewTask> {
    match <[NewTask; 1]>::try_from(tasks) {
        Ok([task]) => Ok(task),
        Err(tasks) if tasks.is_empty() => bail!("there is no Task in the file"),
        Err(tasks) => {
            bail!("there are {} Tasks in the file: one is run at a time (kubectl apply makes them all)", tasks.len())
        }
    }
}

/// The Task that arguments make, asked for by `user`.
pub(super) fn built(args: &RunArgs, user: &str) -> anyhow::Result<NewTask> {
    let mut spec = json!({
        "requestedBy": {"kind": "human", "id": user.chars().take(REQUESTER).collect::<String>()},
        "objective": args.objective,
        "operation": args.operation.as_deref().map(|operation| operation.replace('-', "_")),
        "target": {"repo": args.repo},
    });
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            spec[name] = value;
        }
    };
    put("executor", args.executor.as_ref().map(|executor| json!(executor)));
    put("maxAttempts", args.max_attempts.map(|count| json!(count)));
    put("constraints", args.time_budget.map(|seconds| json!({"timeBudgetSeconds": seconds})));
    put("inputs", (!args.inputs.is_empty()).then(|| inputs(&args.inputs)).transpose()?);
    for (name, value) in [("ref", &args.reference), ("path", &args.path)] {
        if let Some(value) = value {
            spec["target"][name] = json!(value);
        }
    }
    let metadata = args.name.as_ref().map_or_else(|| json!({}), |name| json!({"name": name}));
    NewTask::of(json!({"apiVersion": "jct.dev/v1", "kind": "Task", "metadata": metadata, "spec": spec}))
}

/// Inputs of `KEY=VALUE`: what is JSON is taken for that, what begins with `@` names a file, all else is text.
fn inputs(given: &[String]) -> anyhow::Result<Value> {
    let mut inputs = Map::new();
    for input in given {
        let Some((key, value)) = input.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            bail!("--input {input:?}: must be KEY=VALUE");
        };
        let value = match value.strip_prefix('@') {
            Some(file) => {
                let text =
                    std::fs::read_to_string(file).with_context(|| format!("--input {key}: cannot read {file}"))?;
                Value::String(text)
            }
            None => serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned())),
        };
        if inputs.insert(key.to_owned(), value).is_some() {
            bail!("--input {key}: is given more than once");
        }
    }
    Ok(Value::Object(inputs))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(given: &[&str]) -> RunArgs {
        let all = ["kubectl-jct", "run"].iter().chain(given);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Run(args) => *args,
            _ => panic!(),
        }
    }

    #[test]
    fn arguments_make_a_task() {
        let least = ["--repo=octo/hello", "--operation=code-change", "--objective=Look around"];
        let task = built(&args(&least), "ada@example.org").unwrap();
        let spec = json!({
            "requestedBy": {"kind": "human", "id": "ada@example.org"}, "objective": "Look around", "operation": "code_change",
            "target": {"repo": "octo/hello"},
        });
        assert_eq!(task.manifest()["spec"], spec);
        assert_eq!((task.called(), task.namespace()), ("task-…".into(), None));
        let more = ["--ref=v1", "--path=src", "--input=depth=3", "--input=note=a=b", "--input=on=true", "--executor=e"];
        let more = [least.as_slice(), &more, &["--time-budget=60", "--max-attempts=2", "--name=t"]].concat();
        let task = built(&args(&more), "ada").unwrap();
        insta::assert_json_snapshot!(task.manifest());
        assert!(inputs(&["x".into()]).is_err() && inputs(&["a=1".into(), "a=2".into()]).is_err());
    }

    #[test]
    fn a_file_has_tasks_and_nothing_else() {
        let task = "apiVersion: jct.dev/v1\nkind: Task\nmetadata: { name: a, namespace: team }\nspec: {}\n";
        let two = tasks_in(&format!("---\n{task}---\n{task}")).unwrap();
        assert_eq!((two.len(), two[0].namespace(), two[0].called()), (2, Some("team"), "a".into()));
        assert!(one(two).unwrap_err().to_string().contains("2 Tasks"));
        assert!(one(Vec::new()).is_err() && one(tasks_in(task).unwrap()).is_ok());
        for bad in ["kind: Pod", "a: [", "- 1", "apiVersion: v1\nkind: Task"] {
            assert!(tasks_in(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_or_arguments() {
        let bad: [&[&str]; 4] = [&[], &["--repo=a/b"], &["-f=x", "--repo=a/b"], &["-f=x", "--objective=x"]];
        for given in bad {
            let all = ["kubectl-jct", "run"].iter().chain(given);
            assert!(Cli::try_parse_from(all).is_err(), "{given:?}");
        }
    }
}
