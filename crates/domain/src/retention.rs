//! Retention: which traces and records of Tasks that have ended may go, by outcome, age and count.
//!
//! The configuration is a YAML file, [`Retention::read`]; docs/operate.md is its reference. What no rule is about stays for
//! ever, and a record goes only after the traces of its Task. Nothing here knows where traces and records are: whoever
//! does shows them to a [`Planner`], the newest first.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Phase;
use crate::choices;
use crate::configuration::{InvalidConfiguration, invalid, parse};

/// The greatest configuration that is read, in bytes: it must fit a ConfigMap.
pub const MAX_RETENTION_BYTES: usize = 1024 * 1024;
/// Between two sweeps, where the file says nothing.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(3600);
const MIN_INTERVAL_SECONDS: u64 = 60;
const MAX_INTERVAL_SECONDS: u64 = 7 * 86_400;
const MIN_AGE_SECONDS: u64 = 3600;
const MAX_AGE_SECONDS: u64 = 36_500 * 86_400;

/// What may go. The default keeps everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Between two sweeps.
    pub interval: Duration,
    /// For the folders of attempts on the trace volume.
    pub traces: Rules,
    /// For the rows of Tasks.
    pub records: Rules,
}

/// One list of rules: at most one for each outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    list: &'static str,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// None for any.
    outcome: Option<Phase>,
    max_age: Option<Age>,
    max_count: Option<u64>,
}

/// A time as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Age {
    text: String,
    seconds: u64,
}

/// Why something may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The rule, in words: `traces[0] (outcome completed, maxAge 90d)`.
    pub rule: String,
    /// The limit that is passed.
    pub limit: Limit,
}

choices! {
    /// The limits of a rule.
    pub enum Limit {
        /// It ended longer ago than that.
        MaxAge = "maxAge",
        /// So many of its namespace are newer.
        MaxCount = "maxCount",
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Configuration {
    interval: Option<String>,
    traces: Vec<Written>,
    records: Vec<Written>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    outcome: String,
    max_age: Option<String>,
    max_count: Option<i64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { interval: DEFAULT_INTERVAL, traces: Rules::none("traces"), records: Rules::none("records") }
    }
}

impl Retention {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`InvalidConfiguration`] names the first field that is wrong.
    pub fn read(yaml: &str) -> Result<Self, InvalidConfiguration> {
        let Configuration { interval, traces, records } = parse(yaml, MAX_RETENTION_BYTES)?;
        let interval = match interval {
            None => DEFAULT_INTERVAL,
            Some(text) => Duration::from_secs(
                age("interval", text, MIN_INTERVAL_SECONDS..=MAX_INTERVAL_SECONDS, "1m to 7d")?.seconds,
            ),
        };
        let retention = Self { interval, traces: rules("traces", traces)?, records: rules("records", records)? };
        retention.check_that_records_outlive_traces()?;
        Ok(retention)
    }

    /// Whether there is no rule.
    pub fn keeps_everything(&self) -> bool {
        self.traces.rules.is_empty() && self.records.rules.is_empty()
    }

    /// A rule for records that could never act, or only later than it says, is a mistake that its author should hear of.
    fn check_that_records_outlive_traces(&self) -> Result<(), InvalidConfiguration> {
        for outcome in Phase::ALL.into_iter().filter(|phase| phase.is_terminal()) {
            let Some((index, record)) = self.records.of(outcome) else { continue };
            let Some((of_traces, trace)) = self.traces.of(outcome) else {
                let message = format!(
                    "a record goes only after the traces of its Task, and no rule of traces is about {outcome} Tasks: \
                     add one"
                );
                return Err(invalid(&format!("records[{index}].outcome"), message));
            };
            if let (Some(record), Some(trace)) = (&record.max_age, &trace.max_age)
                && record.seconds < trace.seconds
            {
                let message = format!(
                    "must not be shorter than traces[{of_traces}].maxAge, {}, which is about {outcome} Tasks too: a \
                     record goes only after the traces of its Task; is {}",
                    trace.text, record.text
                );
                return Err(invalid(&format!("records[{index}].maxAge"), message));
            }
        }
        Ok(())
    }
}

impl Rules {
    fn none(list: &'static str) -> Self {
        Self { list, rules: Vec::new() }
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule for an outcome: the one that names it, else the one for any.
    fn of(&self, outcome: Phase) -> Option<(usize, &Rule)> {
        let find = |wanted| self.rules.iter().enumerate().find(|(_, rule)| rule.outcome == wanted);
        find(Some(outcome)).or_else(|| find(None))
    }
}

/// Decides about what it is shown, of one list of rules.
#[derive(Debug)]
pub struct Planner<'r> {
    rules: &'r Rules,
    now: Timestamp,
    /// How many were shown, by namespace and rule.
    shown: HashMap<String, Vec<u64>>,
}

impl<'r> Planner<'r> {
    /// For the state of things at `now`.
    pub fn new(rules: &'r Rules, now: Timestamp) -> Self {
        Self { rules, now, shown: HashMap::new() }
    }

    /// Whether what ended then, of a Task of this namespace that ended so, may go. To be asked about everything there is, the
    /// newest first.
    pub fn consider(&mut self, namespace: &str, outcome: Phase, ended_at: Timestamp) -> Option<Due> {
        let (index, rule) = self.rules.of(outcome)?;
        if !self.shown.contains_key(namespace) {
            self.shown.insert(namespace.to_owned(), vec![0; self.rules.rules.len()]);
        }
        let newer = self.shown.get_mut(namespace).and_then(|shown| shown.get_mut(index))?;
        let rank = *newer;
        *newer += 1;
        let limit = if rule.max_age.as_ref().is_some_and(|age| age.is_over(ended_at, self.now)) {
            Limit::MaxAge
        } else if rule.max_count.is_some_and(|most| rank >= most) {
            Limit::MaxCount
        } else {
            return None;
        };
        Some(Due { rule: format!("{}[{index}] ({rule})", self.rules.list), limit })
    }
}

impl Age {
    fn is_over(&self, ended_at: Timestamp, now: Timestamp) -> bool {
        let age = SignedDuration::from_secs(i64::try_from(self.seconds).unwrap_or(i64::MAX));
        now.duration_since(ended_at) > age
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "outcome {}", self.outcome.map_or("any", Phase::as_str))?;
        if let Some(age) = &self.max_age {
            write!(f, ", maxAge {}", age.text)?;
        }
        if let Some(count) = self.max_count {
            write!(f, ", maxCount {count}")?;
        }
        Ok(())
    }
}

fn rules(list: &'static str, written: Vec<Written>) -> Result<Rules, InvalidConfiguration> {
    let mut rules: Vec<Rule> = Vec::new();
    for (index, Written { outcome, max_age, max_count }) in written.into_iter().enumerate() {
        let at = |field: &str| format!("{list}[{index}].{field}");
        let phase = match outcome.as_str() {
            "any" => None,
            name => match Phase::ALL.into_iter().find(|phase| phase.is_terminal() && phase.as_str() == name) {
                Some(phase) => Some(phase),
                None => {
                    let message = format!("must be completed, failed, cancelled or any, is {name:?}");
                    return Err(invalid(&at("outcome"), message));
                }
            },
        };
        if let Some(first) = rules.iter().position(|rule| rule.outcome == phase) {
            let message = format!("{list}[{first}] is about {outcome} too: keep one of them");
            return Err(invalid(&at("outcome"), message));
        }
        let max_age = max_age
            .map(|text| age(&at("maxAge"), text, MIN_AGE_SECONDS..=MAX_AGE_SECONDS, "1h to 36500d"))
            .transpose()?;
        let max_count = match max_count {
            None => None,
            Some(count) => match u64::try_from(count) {
                Ok(count @ 1..) => Some(count),
                _ => {
                    let message = format!("must be at least 1, is {count}; to keep none for long, use maxAge");
                    return Err(invalid(&at("maxCount"), message));
                }
            },
        };
        if max_age.is_none() && max_count.is_none() {
            let message = "must have maxAge or maxCount, or both: then passing either is enough to go";
            return Err(invalid(&format!("{list}[{index}]"), message.into()));
        }
        rules.push(Rule { outcome: phase, max_age, max_count });
    }
    Ok(Rules { list, rules })
}

fn age(
    field: &str,
    text: String,
    allowed: std::ops::RangeInclusive<u64>,
    in_words: &str,
) -> Result<Age, InvalidConfiguration> {
    let seconds = seconds(&text).filter(|seconds| allowed.contains(seconds));
    let Some(seconds) = seconds else {
        let message =
            format!("must be a whole number and a unit, m, h, d or w, such as 90d, and from {in_words}; is {text:?}");
        return Err(invalid(field, message));
    };
    Ok(Age { text, seconds })
}

fn seconds(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let number: u64 = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    number.checked_mul(unit)
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
