//! `jct retention plan`: what retention would remove now, by the rules that the operator has or by others.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::output::{self, Output};
use crate::domain::retention::{MAX_RETENTION_BYTES, Retention};
use crate::domain::shown::plain;
use crate::store::{Database, Plan, Store, StoreSettings};

/// The most traces and records that are listed, each. More are counted.
const MOST: usize = 100_000;

/// What to ask about retention.
#[derive(Subcommand, Clone, Debug)]
pub enum RetentionCommand {
    /// List what would be removed now, and by which rule. Changes nothing
    Plan(PlanArgs),
}

/// Arguments of `jct retention plan`.
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    /// Where the record is kept
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite:///var/lib/jct/jct.db", hide_env_values = true)]
    pub database_url: String,

    /// YAML file of the rules: the operator's own, or one to try out; - reads standard input. Without one everything is kept
    #[arg(long, env = "JCT_RETENTION_FILE", value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Form of the result
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    pub output: Output,
}

/// Shows what would be removed.
///
/// # Errors
/// If the rules can't be used, naming the field, or the database can't be read.
pub async fn run(command: RetentionCommand) -> anyhow::Result<()> {
    let RetentionCommand::Plan(PlanArgs { database_url, file, output }) = command;
    let retention = match &file {
        Some(file) => read(file).with_context(|| format!("--file (JCT_RETENTION_FILE): {}", file.display()))?,
        None => Retention::default(),
    };
    let settings = StoreSettings::new(database_url.parse().context("--database-url (DATABASE_URL)")?);
    let place = || format!("cannot open the database {} (DATABASE_URL)", settings.url.to_safe_string());
    // One that is not there is a mistake in the URL: it is not to be created.
    Database::open(&settings).await.with_context(place)?.close().await;
    let store = Store::open(&settings).await.with_context(place)?;
    let now = Timestamp::now();
    let plan = store.plan(&retention, now, MOST).await;
    store.close().await;
    let plan = plan.context("cannot read the record")?;
    let mut out = io::stdout().lock();
    match output {
        Output::Human => human(&mut out, &plan, &retention)?,
        Output::Json => output::json(&mut out, &as_json(&plan, now)?)?,
    }
    Ok(())
}

/// The rules of a file that has them as the chart's values do, below `retention`.
fn unwrapped(text: &str) -> Option<String> {
    let values: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
    let rules = values.as_mapping().filter(|values| values.len() == 1)?.get("retention")?;
    serde_yaml::to_string(rules).ok()
}

fn read(file: &Path) -> anyhow::Result<Retention> {
    // One byte more than may be: what is too large is then told so.
    let most = MAX_RETENTION_BYTES as u64 + 1;
    let mut text = String::new();
    if file == Path::new("-") {
        io::stdin().lock().take(most).read_to_string(&mut text)?;
    } else {
        File::open(file)?.take(most).read_to_string(&mut text)?;
    }
    Ok(Retention::read(unwrapped(&text).as_deref().unwrap_or(&text))?)
}

fn as_json(plan: &Plan, now: Timestamp) -> serde_json::Result<serde_json::Value> {
    let mut shown = serde_json::to_value(plan)?;
    shown["planned_at"] = json!(now);
    shown["bytes"] = json!(bytes(plan));
    let held = plan.held();
    for (shown, record) in shown["records"].as_array_mut().into_iter().flatten().zip(&plan.records) {
        shown["held_by_traces"] = json!(held.contains(&record.task_id));
    }
    Ok(shown)
}

fn bytes(plan: &Plan) -> u64 {
    plan.traces.iter().map(|trace| trace.bytes).sum()
}

fn human(out: &mut impl Write, plan: &Plan, retention: &Retention) -> io::Result<()> {
    if retention.keeps_everything() {
        return writeln!(out, "there is no rule: everything is kept");
    }
    for trace in &plan.traces {
        let path = plain(&format!("{}/{}/{}", trace.namespace, trace.task_id, trace.attempt));
        let (name, outcome, ended_at) = (plain(&trace.name), trace.outcome, trace.ended_at);
        writeln!(
            out,
            "trace   {path}  {name}, {outcome}, ended {ended_at:.0}, {} bytes  by {} of {}",
            trace.bytes, trace.limit, trace.rule
        )?;
    }
    let held = plan.held();
    for record in &plan.records {
        let condition = match (held.contains(&record.task_id), record.object_deleted) {
            (true, _) => "not yet: traces of it are kept",
            (false, true) => "its object is gone",
            (false, false) => "if its object is gone",
        };
        let (namespace, name, outcome) = (plain(&record.namespace), plain(&record.name), record.outcome);
        writeln!(
            out,
            "record  {namespace}/{}  {name}, {outcome}, ended {:.0}, {condition}  by {} of {}",
            record.task_id, record.completed_at, record.limit, record.rule
        )?;
    }
    let more = plan.traces_left_out + plan.records_left_out;
    write!(
        out,
        "{} traces of {} bytes, {} records, {} of them not yet",
        plan.traces.len(),
        bytes(plan),
        plan.records.len(),
        held.len()
    )?;
    if more > 0 {
        write!(out, "; {more} more are not listed")?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_s_value_is_taken_with_its_name_and_without() {
        let rules = "traces: [{outcome: completed, maxAge: 90d}]";
        let block = format!("# As in values.yaml.\nretention:\n  {rules}\n");
        let read = |text: &str| Retention::read(unwrapped(text).as_deref().unwrap_or(text)).unwrap();
        assert_eq!(read(&block), read(rules));
        assert_ne!(read(&block), Retention::default());
        assert!(Retention::read(unwrapped("retention: {trces: []}").unwrap().as_str()).is_err());
        assert_eq!(unwrapped("interval: 1h"), None);
    }
}
