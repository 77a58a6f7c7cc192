//! `kubectl jct audit`.

use clap::Args;

use crate::DONE;
use crate::cli::Output;
use crate::connect::Context;
use crate::rest;
use crate::show;
use crate::tasks::encoded;

/// Arguments of `kubectl jct audit`.
#[derive(Args, Debug)]
#[command(
    after_help = "Needs the ClusterRole jct-audit: the audit log is one chain over all namespaces. The entries of a Task \
                        are told by kubectl jct why."
)]
pub struct AuditArgs {
    /// About this kind of entity, such as Task
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,

    /// About this entity, by its id
    #[arg(long, value_name = "ID")]
    pub entity: Option<String>,

    /// Of this trace
    #[arg(long, value_name = "ID")]
    pub trace: Option<String>,

    /// By this user or part of JCT
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,

    /// created, updated, status_changed, deleted, linked or unlinked
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,

    /// Not before this time, such as 2026-03-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,

    /// At most so many, the newest
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,

    /// json or yaml: as the API has it
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Runs it.
///
/// # Errors
/// If it may not be read.
pub async fn run(args: &AuditArgs, context: &Context) -> anyhow::Result<u8> {
    let most = args.limit as usize;
    let mut path = format!("/audit?limit={}", most.min(1000));
    for (name, value) in [
        ("entity_kind", &args.kind),
        ("entity_id", &args.entity),
        ("trace_id", &args.trace),
        ("actor_id", &args.actor),
        ("action", &args.action),
        ("since", &args.since),
        ("until", &args.until),
    ] {
        path.extend(value.as_ref().map(|value| format!("&{name}={}", encoded(value))));
    }
    let entries = rest::with(context, async |rest| rest.list(&path, most).await).await?;
    if let Some(document) = show::document(&entries.clone().into(), args.output)? {
        super::put(&document)?;
        return Ok(DONE);
    }
    // The newest last, as logs are read.
    entries.iter().rev().try_for_each(|entry| super::put(&format!("{}\n", show::audit::line(entry))))?;
    Ok(DONE)
}
