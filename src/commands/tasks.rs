//! `jct tasks`: what is left to administrators about Tasks whose record was lost.
//!
//! The decision is written into the status of the object, which only those can write who may write statuses; the operator does
//! what it says, and records by whom it was.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::output::{self, Output};
use crate::crd::status::{ConditionType, Decision, DecisionAction};
use crate::crd::{TaskStatus, TaskView};
use crate::domain::Phase;
use crate::domain::shown::plain;

/// What to do about Tasks whose object shows an end, or attempts, of which the record knows nothing.
#[derive(Subcommand, Clone, Debug)]
pub enum TasksCommand {
    /// List Tasks whose record was lost (reason RecordLost). Nothing runs of them
    Lost(LostArgs),
    /// Take the end that a Task shows into the record
    Adopt(AdoptArgs),
    /// Let a Task run again, though it shows that it has run
    Rerun(RerunArgs),
}

/// Arguments of `jct tasks lost`.
#[derive(Args, Clone, Debug)]
pub struct LostArgs {
    /// In this namespace; in all by default
    #[arg(short, long)]
    namespace: Option<String>,

    /// Form of the result
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// Arguments of `jct tasks adopt`.
#[derive(Args, Clone, Debug)]
pub struct AdoptArgs {
    /// The Tasks, as NAMESPACE/NAME
    #[arg(value_name = "NAMESPACE/NAME", required_unless_present = "all", conflicts_with = "all")]
    tasks: Vec<String>,

    /// Every Task that shows an end and whose record was lost
    #[arg(long)]
    all: bool,

    /// With --all: in this namespace
    #[arg(short, long, requires = "all")]
    namespace: Option<String>,

    /// How long to wait for the operator, in seconds; 0 does not wait
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    wait: u64,
}

/// Arguments of `jct tasks rerun`.
#[derive(Args, Clone, Debug)]
pub struct RerunArgs {
    /// The Tasks, as NAMESPACE/NAME
    #[arg(value_name = "NAMESPACE/NAME", required = true)]
    tasks: Vec<String>,

    /// How long to wait for the operator, in seconds; 0 does not wait
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    wait: u64,
}

/// Does what is asked, as the user of the kubeconfig.
///
/// # Errors
/// If the API server does not answer or refuses, a Task is not one whose record was lost, or the operator does not do it in time.
pub async fn run(command: TasksCommand) -> anyhow::Result<()> {
    let client = Client::try_default().await.context("cannot find the Kubernetes API server")?;
    match command {
        TasksCommand::Lost(args) => show(&args, &lost(&client, args.namespace.as_deref()).await?),
        TasksCommand::Adopt(AdoptArgs { tasks, all, namespace, wait }) => {
            let tasks = if all {
                let lost = lost(&client, namespace.as_deref()).await?;
                lost.into_iter().filter(ended).collect()
            } else {
                named(&client, &tasks).await?
            };
            if let Some(task) = tasks.iter().find(|task| !ended(task)) {
                bail!("{} shows no end that could be adopted; `jct tasks rerun` lets it go on", place(task));
            }
            decide(&client, DecisionAction::Adopt, &tasks, wait).await
        }
        TasksCommand::Rerun(RerunArgs { tasks, wait }) => {
            decide(&client, DecisionAction::Rerun, &named(&client, &tasks).await?, wait).await
        }
    }
}

/// Every Task whose record was lost.
async fn lost(client: &Client, namespace: Option<&str>) -> anyhow::Result<Vec<TaskView>> {
    let api: Api<TaskView> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let mut page = ListParams::default().limit(50);
    let mut found = Vec::new();
    loop {
        let tasks = api.list(&page).await.context("cannot list Tasks")?;
        found.extend(tasks.items.into_iter().filter(TaskView::is_lost));
        match tasks.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
}

async fn named(client: &Client, tasks: &[String]) -> anyhow::Result<Vec<TaskView>> {
    let mut found = Vec::new();
    for text in tasks {
        let (namespace, name) =
            text.split_once('/').ok_or_else(|| anyhow!("{text}: name the Task as NAMESPACE/NAME"))?;
        let task = api(client, namespace).get(name).await.with_context(|| format!("cannot read the Task {text}"))?;
        if !task.is_lost() {
            bail!("{text}: its record is not lost (reason RecordLost): there is nothing to decide");
        }
        found.push(task);
    }
    Ok(found)
}

/// Writes the decision into the status of each, and waits until the operator has done it.
async fn decide(client: &Client, action: DecisionAction, tasks: &[TaskView], wait: u64) -> anyhow::Result<()> {
    let by = whoami(client).await?;
    for task in tasks {
        let decision = Decision { action, by: by.clone(), at: Time(Timestamp::now()) };
        // The uid makes it a conflict where the name has passed to another object.
        let patch = json!({"metadata": {"uid": task.uid()}, "status": {"decision": decision}});
        let api = api(client, &task.namespace().unwrap_or_default());
        let written = api.patch_status(&task.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        written.with_context(|| format!("cannot write the status of {}", place(task)))?;
    }
    if wait == 0 || tasks.is_empty() {
        return say(&format!("{} Tasks decided by {by}", tasks.len()));
    }
    let until = Instant::now() + Duration::from_secs(wait);
    for task in tasks {
        while still_lost(client, task).await? {
            if Instant::now() >= until {
                bail!("{}: decided by {by}, and not done yet: is the operator running?", place(task));
            }
            sleep(Duration::from_millis(250)).await;
        }
        say(&match action {
            DecisionAction::Adopt => format!("{}: its end is recorded as shown, by decision of {by}", place(task)),
            DecisionAction::Rerun => format!("{}: runs again by decision of {by}", place(task)),
        })?;
    }
    Ok(())
}

async fn still_lost(client: &Client, task: &TaskView) -> anyhow::Result<bool> {
    let found = api(client, &task.namespace().unwrap_or_default()).get_opt(&task.name_any()).await;
    let found = found.with_context(|| format!("cannot read the Task {}", place(task)))?;
    Ok(found.is_some_and(|found| found.uid() == task.uid() && found.is_lost()))
}

/// Who this is, as the API server knows them.
async fn whoami(client: &Client) -> anyhow::Result<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let status = review.context("cannot ask the API server who this is")?.status;
    status
        .and_then(|status| status.user_info?.username)
        .ok_or_else(|| anyhow!("the API server does not say who this is"))
}

fn api(client: &Client, namespace: &str) -> Api<TaskView> {
    Api::namespaced(client.clone(), namespace)
}

fn place(task: &TaskView) -> String {
    plain(&format!("{}/{}", task.namespace().unwrap_or_default(), task.name_any()))
}

fn ended(task: &TaskView) -> bool {
    let phase = status(task).phase.unwrap_or_default();
    Phase::ALL.into_iter().any(|known| known.is_terminal() && known.as_condition() == phase)
}

fn status(task: &TaskView) -> TaskStatus {
    task.status.clone().unwrap_or_default()
}

/// Why it ended as it is shown: the condition keeps that.
fn reason(status: &TaskStatus) -> &str {
    let succeeded = status.conditions.iter().find(|condition| condition.type_ == ConditionType::Succeeded.as_str());
    succeeded.map_or("", |condition| &condition.reason)
}

fn show(args: &LostArgs, tasks: &[TaskView]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if args.output == Output::Json {
        let shown = tasks.iter().map(|task| {
            let status = status(task);
            json!({"namespace": task.namespace(), "name": task.name_any(), "uid": task.uid(), "status": status})
        });
        return Ok(output::json(&mut out, &json!({"tasks": shown.collect::<Vec<_>>()}))?);
    }
    for task in tasks {
        let status = status(task);
        let completed_at = status.completed_at.as_ref().map(|time| time.0.to_string()).unwrap_or_default();
        let phase = status.phase.as_deref().unwrap_or_default();
        let attempt = status.attempt.unwrap_or_default();
        let line = format!("{}  {phase}, {}, attempt {attempt}  {completed_at}", place(task), reason(&status));
        writeln!(out, "{}", plain(line.trim_end()))?;
    }
    match tasks.len() {
        0 => writeln!(out, "no record is lost")?,
        count => writeln!(out, "{count} Tasks; decide by `jct tasks adopt` or `jct tasks rerun`")?,
    }
    Ok(())
}

fn say(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}
