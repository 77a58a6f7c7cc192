//! `kubectl jct review`.

use anyhow::bail;
use clap::Args;
use jct_domain::shown::plain;
use serde_json::{Value, json};

use super::report::artifact;
use crate::DONE;
use crate::cli::Output;
use crate::connect::Context;
use crate::rest;
use crate::show;
use crate::tasks::{self, text};

/// Arguments of `kubectl jct review`.
#[derive(Args, Debug)]
pub struct ReviewArgs {
    /// The Task: its name, or its id
    pub task: String,

    /// It may be delivered
    #[arg(long, conflicts_with_all = ["request_changes", "reject"])]
    pub approve: bool,

    /// It may not be delivered as it is
    #[arg(long, conflicts_with = "reject")]
    pub request_changes: bool,

    /// It may not be delivered
    #[arg(long)]
    pub reject: bool,

    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Only if this is what is to be reviewed: the digest that was shown before
    #[arg(long, value_name = "SHA256")]
    pub digest: Option<String>,

    /// json or yaml: evidence and reviews as the API has them
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// Shows what there is to see, and decides if that is asked for.
///
/// # Errors
/// If there is nothing to review, or the review is refused.
pub async fn run(args: &ReviewArgs, context: &Context) -> anyhow::Result<u8> {
    let decision = match args {
        ReviewArgs { approve: true, .. } => Some("approved"),
        ReviewArgs { request_changes: true, .. } => Some("needs_changes"),
        ReviewArgs { reject: true, .. } => Some("rejected"),
        _ => None,
    };
    if decision.is_none() && (args.reason.is_some() || args.digest.is_some()) {
        bail!("say what you decide: --approve, --request-changes or --reject");
    }
    rest::with(context, async |rest| {
        let task = tasks::find(context, rest, &args.task).await?;
        let evidence = rest.get(&format!("/tasks/{}/evidence", text(&task, "id"))).await?;
        let pack = &evidence["evidence_pack"];
        match show::document(&evidence, args.output)? {
            Some(document) => super::put(&document)?,
            None => {
                super::put(&show::review::shown(&task, &evidence, context.style))?;
                if let Ok(diffstat) = artifact(rest, &task, None, "diffstat.txt").await {
                    super::put(&format!("\n{}", show::lines::shown(&diffstat)))?;
                }
            }
        }
        let Some(decision) = decision else { return Ok(DONE) };
        let digest = text(pack, "subject_sha256");
        if args.digest.as_deref().is_some_and(|wanted| wanted != digest) {
            bail!("what is to be reviewed has the digest {digest}, which is not the one of --digest: look at it again");
        }
        let body = json!({
            "for_evidence_pack": {"kind": "EvidencePack", "id": pack["id"]},
            "subject_sha256": digest,
            "decision": decision,
            "decision_reason": args.reason,
        });
        let made = rest.post_json("/cwom/reviews", &body).await?;
        eprintln!("{}", plain(&told(&made)));
        Ok(DONE)
    })
    .await
}

/// What a review came to.
fn told(made: &Value) -> String {
    let outcome = &made["outcome"];
    let stands = match text(outcome, "state") {
        "missing" => format!("{} more must approve it", outcome["approvals"]),
        "approved" => "it is approved".into(),
        other => format!("the review has ended: {}", other.replace('_', " ")),
    };
    format!(
        "Recorded as {} by {}: {stands}.",
        text(&made["review"], "decision"),
        text(&made["review"]["reviewer"], "actor_id")
    )
}
