//! `kubectl jct run`.

mod manifest;

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use http::Request;
use http_body_util::BodyExt as _;
use jct_domain::shown::plain;
use kube::client::Body;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::follow::to_the_end;
use crate::cli::Output;
use crate::connect::Context;
use crate::rest::{self, Refusal, Rest};
use crate::show;
use crate::tasks::{self, text};
use crate::{DENIED, DONE};
pub use manifest::{NewTask, read_tasks};

/// How long a Task may take to be recorded.
const RECORDED: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `kubectl jct run`.
#[derive(Args, Debug)]
#[command(
    after_help = "Interrupted, the Task goes on (exit code 4). It is made as kubectl makes it: kubectl get tasks shows it."
)]
pub struct RunArgs {
    /// A file with the Task; - reads standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "repo", required_unless_present = "repo")]
    pub filename: Option<String>,

    /// The repository to work on, OWNER/NAME
    #[arg(long, value_name = "REPO", requires_all = ["operation", "objective"])]
    pub repo: Option<String>,

    /// What to do: code_change, docs, analysis or ops
    #[arg(long, value_name = "OPERATION", requires = "repo")]
    pub operation: Option<String>,

    /// What is wanted, in words
    #[arg(long, value_name = "TEXT", requires = "repo")]
    pub objective: Option<String>,

    /// The branch, tag or commit to work on
    #[arg(long = "ref", value_name = "REF", requires = "repo")]
    pub reference: Option<String>,

    /// The folder of the repository that it is about
    #[arg(long, value_name = "PATH", requires = "repo")]
    pub path: Option<String>,

    /// An input: KEY=TEXT, KEY=JSON, or KEY=@FILE for the text of a file; can be repeated
    #[arg(long = "input", value_name = "KEY=VALUE", requires = "repo")]
    pub inputs: Vec<String>,

    /// The executor that is to do it
    #[arg(long, value_name = "NAME", requires = "repo")]
    pub executor: Option<String>,

    /// How long it may take, in seconds
    #[arg(long, value_name = "SECONDS", requires = "repo")]
    pub time_budget: Option<u32>,

    /// How often it is tried
    #[arg(long, value_name = "COUNT", requires = "repo")]
    pub max_attempts: Option<u32>,

    /// The name of the Task; one is made without
    #[arg(long, value_name = "NAME", requires = "repo")]
    pub name: Option<String>,

    /// Ask the gate alone: nothing is made
    #[arg(long)]
    pub dry_run: bool,

    /// Do not follow the Task
    #[arg(long)]
    pub no_follow: bool,

    /// Form of the Task at its end; it is followed on standard error then
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// What the cluster says about a new Task.
#[derive(Clone, Debug, PartialEq)]
pub enum Gate {
    /// It is made, or would be.
    LetIn {
        /// As the API server has it.
        object: Value,
        /// What is said besides.
        warnings: Vec<String>,
    },
    /// It is not, for these reasons.
    Denied(Vec<String>),
}

/// Runs it.
///
/// # Errors
/// If the Task can't be made, or not be followed.
pub async fn run(args: &RunArgs, context: &Context) -> anyhow::Result<u8> {
    let task = match &args.filename {
        Some(file) => manifest::one(read_tasks(file)?)?,
        None => manifest::built(args, &context.user().await?)?,
    };
    let context = &context.at(task.namespace());
    let (object, warnings) = match ask(context, &task, args.dry_run).await? {
        Gate::LetIn { object, warnings } => (object, warnings),
        Gate::Denied(findings) => {
            eprintln!("Task {} is denied:", task.called());
            findings.iter().for_each(|finding| eprintln!("  {finding}"));
            return Ok(DENIED);
        }
    };
    warnings.iter().for_each(|warning| eprintln!("Warning: {warning}"));
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if args.dry_run {
        eprintln!("Task {} would be let in.", task.called());
        return Ok(DONE);
    }
    eprintln!("Task {} is let in.", plain(&name));
    if args.no_follow {
        match show::document(&object, args.output)? {
            Some(document) => super::put(&document)?,
            None => super::put(&format!("task.jct.dev/{name}\n"))?,
        }
        return Ok(DONE);
    }
    if object.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        eprintln!("It is suspended, and waits until somebody sets spec.suspend to false.");
    }
    let followed = rest::with(context, async |rest| {
        let task = recorded(context, rest, &name).await?;
        if let Some(page) = tasks::page(rest, &task).await {
            eprintln!("  {}", plain(&page));
        }
        to_the_end(context, rest, &task, args.output).await
    });
    followed.await.with_context(|| format!("Task {name} is made and goes on, but can't be followed"))
}

/// Asks the API server to make a Task.
///
/// # Errors
/// If it is neither made nor denied.
pub async fn ask(context: &Context, task: &NewTask, dry_run: bool) -> anyhow::Result<Gate> {
    let namespace = task.namespace().unwrap_or(&context.namespace);
    let dry_run = if dry_run { "&dryRun=All" } else { "" };
    let path = format!(
        "/apis/jct.dev/v1/namespaces/{namespace}/tasks?fieldManager=kubectl-jct&fieldValidation=Strict{dry_run}"
    );
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(Body::from(serde_json::to_vec(task.manifest())?))?;
    let answer = context.client.send(request).await.context("the API server does not answer")?;
    let (head, body) = answer.into_parts();
    let body: Value = serde_json::from_slice(&body.collect().await?.to_bytes()).unwrap_or_default();
    if head.status.is_success() {
        let warnings = head.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok().map(warning));
        return Ok(Gate::LetIn { object: body, warnings: warnings.collect() });
    }
    match denied(head.status.as_u16(), &body) {
        Some(findings) => Ok(Gate::Denied(findings)),
        None => Err(anyhow!("{}", body["message"].as_str().unwrap_or("the API server refuses the Task"))),
    }
}

/// What is wrong with a Task, by the API server's answer; none if it is refused for something else.
fn denied(status: u16, body: &Value) -> Option<Vec<String>> {
    let message = text(body, "message");
    if status == 400 && message.contains("strict decoding error") {
        return Some(vec![plain(message)]);
    }
    if status != 422 {
        return None;
    }
    let causes = body.pointer("/details/causes").and_then(Value::as_array).into_iter().flatten();
    let findings: Vec<String> =
        causes.map(|cause| plain(&format!("{}: {}", text(cause, "field"), text(cause, "message")))).collect();
    Some(if findings.is_empty() { vec![plain(message)] } else { findings })
}

/// The text of a warning as HTTP has it: 299 - "text".
fn warning(value: &str) -> String {
    let quoted = value.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"')).map_or(value, |(text, _)| text);
    plain(&quoted.replace("\\\"", "\"").replace("\\\\", "\\"))
}

/// The record of the Task, once there is one.
async fn recorded(context: &Context, rest: &Rest, name: &str) -> anyhow::Result<Value> {
    let (until, path) = (Instant::now() + RECORDED, tasks::path(&context.namespace, name));
    loop {
        let object = context.object(&path).await?;
        let Some(object) = object else { bail!("the Task {name} was deleted") };
        if let Some(id) = object.pointer("/status/id").and_then(Value::as_str) {
            match rest.get(&format!("/tasks/{id}")).await {
                Ok(task) => return Ok(task),
                Err(error) if error.downcast_ref::<Refusal>().is_none_or(|refusal| refusal.status != 404) => {
                    return Err(error);
                }
                // About to be.
                Err(_) => {}
            }
        }
        let message = object.pointer("/status/message").and_then(Value::as_str).unwrap_or("nothing is said of it");
        if object.pointer("/status/phase").is_some_and(|phase| phase == "Failed") {
            bail!("it is not recorded: {message}");
        }
        if Instant::now() > until {
            bail!("it is not recorded within {} s: {message}", RECORDED.as_secs());
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_denial_names_every_field() {
        let causes = json!([
            {"field": "spec.target.repo", "message": "REPO_NOT_ALLOWED: no"}, {"field": "spec.x", "message": "a\u{1b}[2J"},
        ]);
        let body = json!({"message": "invalid", "details": {"causes": causes}});
        let findings = denied(422, &body).unwrap();
        assert_eq!(findings, ["spec.target.repo: REPO_NOT_ALLOWED: no", "spec.x: a\\u{1b}[2J"]);
        assert_eq!(denied(422, &json!({"message": "no"})), Some(vec!["no".into()]));
        assert!(denied(400, &json!({"message": "strict decoding error: unknown field \"spec.x\""})).is_some());
        for other in [400, 403, 404, 409, 500] {
            assert_eq!(denied(other, &json!({"message": "no"})), None, "{other}");
        }
    }

    #[test]
    fn a_warning_is_its_text() {
        assert_eq!(warning(r#"299 - "spec \"x\" is unknown""#), r#"spec "x" is unknown"#);
        assert_eq!(warning("odd"), "odd");
    }
}
