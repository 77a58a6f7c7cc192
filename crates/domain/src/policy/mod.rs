//! The policy gate (contract section 1): may this Task run?
//!
//! Pure and total: no clock, no network, no database, no Kubernetes. Every door asks the same [`gate`]; one file under
//! `rules/` holds one rule.

mod admission;
mod advice;
mod configured;
mod rules;

#[cfg(test)]
mod gate_tests;

pub use admission::Subject;
pub use advice::{advice, advice_on, advice_without_configuration};
pub use configured::{Configured, configured_findings, configured_findings_on};

use serde_json::Value;

use crate::task::{Controls, Draft, MAX_TIME_BUDGET_SECONDS, MIN_TIME_BUDGET_SECONDS, Naming, read};
use crate::{Finding, Task};

/// What this installation allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Prefixes of `owner/name`, lower case; a repository must start with one of them. None allow nothing.
    pub allowed_repo_prefixes: Vec<String>,
    /// The least time budget, in seconds; at least 30.
    pub min_time_budget_seconds: u32,
    /// The greatest time budget, in seconds; at most 86400.
    pub max_time_budget_seconds: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allowed_repo_prefixes: Vec::new(),
            min_time_budget_seconds: MIN_TIME_BUDGET_SECONDS,
            max_time_budget_seconds: MAX_TIME_BUDGET_SECONDS,
        }
    }
}

impl Policy {
    /// A policy with the prefixes of a comma-separated list: blanks trimmed, empty entries dropped, lower-cased.
    #[must_use]
    pub fn allowing(mut self, prefixes: &str) -> Self {
        self.allowed_repo_prefixes = prefixes
            .split(',')
            .map(|prefix| prefix.trim().to_lowercase())
            .filter(|prefix| !prefix.is_empty())
            .collect();
        self
    }
}

/// What the gate says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The Task may run; here it is, normalized.
    Accepted(Box<Task>),
    /// It may not, for all these reasons; the first one is "the" reason. Never empty.
    Refused(Vec<Finding>),
}

impl Verdict {
    /// What was found; nothing for an accepted Task.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Accepted(_) => &[],
            Self::Refused(findings) => findings,
        }
    }
}

/// Reads `spec` and decides. Never panics, whatever the JSON.
///
/// Schema errors come first, then the policy's findings in the order of the contract's table.
pub fn gate(spec: &Value, naming: Naming, policy: &Policy) -> Verdict {
    judge(spec, naming, policy).0
}

/// As [`gate`], and the fields that say how the Task is handled: they count for a refused one too.
pub fn judge(spec: &Value, naming: Naming, policy: &Policy) -> (Verdict, Controls) {
    let (draft, mut findings) = read(spec, naming);
    findings.extend(evaluate(&draft, naming, policy));
    let controls = draft.controls.clone();
    if !findings.is_empty() {
        return (Verdict::Refused(findings), controls);
    }
    match draft.into_task() {
        Some(task) => (Verdict::Accepted(Box::new(task)), controls),
        None => (Verdict::Refused(vec![rules::unreadable(naming)]), controls),
    }
}

/// All that the policy finds wrong with a draft, in the order of the contract's table.
pub fn evaluate(draft: &Draft, naming: Naming, policy: &Policy) -> Vec<Finding> {
    rules::ALL.iter().filter_map(|rule| rule(draft, naming, policy)).collect()
}
