//! `kubectl jct doctor`.

mod checks;

use clap::Args;
use jct_domain::shown::plain;
use serde_json::{Value, json};

use crate::cli::Output;
use crate::connect::Context;
use crate::show::{self, Style};
use crate::{DONE, FAILED};

/// Arguments of `kubectl jct doctor`.
#[derive(Args, Debug)]
#[command(
    after_help = "What the operator finds of itself is told to who has the ClusterRole jct-diagnostics. What you may not see is \
                        skipped, and named."
)]
pub struct DoctorArgs {
    /// json or yaml: each check with name, status, message and advice
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As it should be.
    Ok,
    /// To be looked at.
    Warning,
    /// Not as it should be.
    Failed,
    /// It could not be looked at.
    Skipped,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    fn parse(name: &str) -> Self {
        [Self::Ok, Self::Warning, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == name)
            .unwrap_or(Self::Skipped)
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    name: String,
    status: Status,
    message: String,
    advice: Option<String>,
}

impl Check {
    fn ok(name: &str, message: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Ok, message: message.into(), advice: None }
    }

    fn of(status: Status, name: &str, message: impl Into<String>, advice: &str) -> Self {
        Self { name: name.into(), status, message: message.into(), advice: Some(advice.into()) }
    }
}

/// Runs it. Every check is made, whatever becomes of the others.
///
/// # Errors
/// If the result can't be written.
pub async fn run(args: &DoctorArgs, context: &Context) -> anyhow::Result<u8> {
    let checks = checks::all(context).await;
    let document =
        json!(checks.iter().map(|check| json!({
        "name": check.name, "status": check.status.as_str(), "message": check.message, "advice": check.advice,
    })).collect::<Vec<Value>>());
    match show::document(&document, args.output)? {
        Some(document) => super::put(&document)?,
        None => super::put(&shown(&checks, context.style))?,
    }
    Ok(if checks.iter().any(|check| check.status == Status::Failed) { FAILED } else { DONE })
}

fn shown(checks: &[Check], style: Style) -> String {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let mut table = String::new();
    for Check { name, status, message, advice } in checks {
        let padded = format!("{:<8}", status.as_str());
        let mark = match status {
            Status::Ok => style.green(&padded),
            Status::Warning => style.yellow(&padded),
            Status::Failed => style.red(&padded),
            Status::Skipped => style.dim(&padded),
        };
        table.push_str(&format!("{mark} {:<width$}  {}\n", plain(name), plain(message)));
        if let Some(advice) = advice {
            table.push_str(&format!("         {:<width$}  -> {}\n", "", plain(advice)));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_says_what_to_do() {
        let checks = [
            Check::ok("API server", "v1.35"),
            Check::of(Status::Failed, "database", "does not answer\u{1b}[2J", "see the log"),
            Check::of(Status::Skipped, "nodes", "you may not list them", "ask who may"),
        ];
        insta::assert_snapshot!(shown(&checks, Style::default()));
    }
}
