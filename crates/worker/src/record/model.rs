//! What the executor asked models: the broker's record of it, taken into the trace.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

use super::bodies;
use crate::attempt::Attempt;
use crate::seal::Trace;
use jct_domain::FailureReason;
use jct_domain::model::record::{BAD_UPSTREAM, BUDGET_EXCEEDED, Exchange, MODEL_UNAVAILABLE, Sums, UPSTREAM_SILENT};
use jct_domain::trace::{ExecutorCost, ExecutorResult, MODEL_FILE};
use jct_untrusted::Failure;
use jct_untrusted::files::{create_anew, read_regular};

/// How long the relay may take to have the record: as long as it waits for a broker that is being restarted, and a little more.
const PATIENCE: Duration = Duration::from_secs(80);
/// Between two looks whether it is there.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The greatest record that is taken, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// What models were asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    sums: Sums,
    /// How the last exchange went.
    last: Option<(u16, Option<String>)>,
}

impl Used {
    fn of(exchanges: &[Exchange]) -> Self {
        let last = exchanges.last().map(|exchange| (exchange.status, exchange.refused.clone()));
        Self { sums: exchanges.iter().collect(), last }
    }

    /// The cost, by the broker's account and not by the executor's.
    pub fn cost(&self, result: Option<ExecutorResult>) -> ExecutorResult {
        let Sums { tokens, usd, .. } = self.sums;
        let cost = ExecutorCost { usd: Some(usd.dollars()), tokens: Some(tokens.total()) };
        ExecutorResult { cost: Some(cost), ..result.unwrap_or_default() }
    }

    /// The failure that is told. What became of the last exchange is why the executor failed, or has not done what it would have.
    pub fn explain(&self, failure: Option<Failure>) -> Option<Failure> {
        let of_model = [FailureReason::ExecutorFailed, FailureReason::ModelBudgetExceeded];
        let is_the_executors = failure.as_ref().is_none_or(|failure| of_model.contains(&failure.reason));
        let Some((status, refused)) = self.last.as_ref().filter(|_| is_the_executors) else { return failure };
        let refused = refused.as_deref();
        let said = failure.as_ref().map(|failure| format!("; {}", failure.message)).unwrap_or_default();
        if refused == Some(BUDGET_EXCEEDED) {
            let Sums { requests, usd, .. } = self.sums;
            let message =
                format!("a budget of models is used up, by {requests} requests of this attempt for {usd}{said}");
            return Some(Failure::new(FailureReason::ModelBudgetExceeded, message));
        }
        let unavailable = [MODEL_UNAVAILABLE, UPSTREAM_SILENT, BAD_UPSTREAM];
        let is_away = refused.map_or(*status >= 500, |code| unavailable.contains(&code));
        match failure {
            Some(Failure { reason: FailureReason::ExecutorFailed, .. }) if is_away => {
                let message = format!("the model could not be had (status {status}){said}");
                Some(Failure::new(FailureReason::ModelUnavailable, message))
            }
            failure => failure,
        }
    }
}

/// Takes the record that the relay leaves, once the executor has ended; `None` if there is none, which the trace tells.
///
/// # Errors
/// If the trace can't be written.
pub async fn take(attempt: &Attempt, trace: &mut Trace, deadline: Option<Instant>) -> std::io::Result<Option<Used>> {
    let work = attempt.work();
    // A relay that the supervisor has never come to waits for it.
    let _ = UnixStream::connect(work.model_socket()).await;
    let until = deadline.unwrap_or_else(|| Instant::now() + PATIENCE);
    let (record, trouble) = (work.model_record(), work.model_trouble());
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    while !is_there(&record) && !is_there(&trouble) && Instant::now() < until {
        sleep(LOOK_AGAIN).await;
    }
    let read = if is_there(&record) {
        read_regular(&record, MAX_BYTES).map_err(|error| error.to_string())
    } else {
        let why = read_regular(&trouble, 4096).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Err(why.unwrap_or_else(|_| "the relay did not bring it in time".into()))
    };
    let read = read.and_then(|bytes| Ok((exchanges(&bytes)?, bytes)));
    let (exchanges, bytes) = match read {
        Ok(read) => read,
        Err(reason) => {
            trace.event("model_record_missing", json!({"reason": reason}))?;
            return Ok(None);
        }
    };
    let mut file = create_anew(&attempt.args.trace_dir.join(MODEL_FILE))?;
    std::io::Write::write_all(&mut file, &bytes)?;
    file.sync_all()?;
    let bodies = bodies::take(&work, &attempt.args.trace_dir, &exchanges, &trace.rules())?;
    let used = Used::of(&exchanges);
    let Sums { requests, refused, tokens, usd } = used.sums;
    let fields = json!({"requests": requests, "refused": refused, "input_tokens": tokens.input, "output_tokens": tokens.output,
        "usd": usd.dollars(), "bodies": bodies});
    trace.event("model_used", fields)?;
    Ok(Some(used))
}

fn exchanges(bytes: &[u8]) -> Result<Vec<Exchange>, String> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|error| format!("a line of it: {error}"))).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use jct_domain::model::Usd;

    fn used(status: u16, refused: Option<&str>) -> Used {
        let sums = Sums { requests: 3, usd: Usd::from_nanos(100_000_000), ..Sums::default() };
        Used { sums, last: Some((status, refused.map(Into::into))) }
    }

    #[rstest]
    #[case(429, Some("BUDGET_EXCEEDED"), None, Some("ModelBudgetExceeded"))]
    #[case(403, Some("BUDGET_EXCEEDED"), Some(FailureReason::ExecutorFailed), Some("ModelBudgetExceeded"))]
    #[case(403, Some("BUDGET_EXCEEDED"), Some(FailureReason::TimeBudgetExceeded), Some("TimeBudgetExceeded"))]
    #[case(429, Some("BUDGET_EXCEEDED"), Some(FailureReason::ModelBudgetExceeded), Some("ModelBudgetExceeded"))]
    #[case(503, Some("MODEL_UNAVAILABLE"), Some(FailureReason::ModelBudgetExceeded), Some("ModelBudgetExceeded"))]
    #[case(503, Some("MODEL_UNAVAILABLE"), Some(FailureReason::ExecutorFailed), Some("ModelUnavailable"))]
    #[case(529, None, Some(FailureReason::ExecutorFailed), Some("ModelUnavailable"))]
    #[case(529, None, None, None)]
    #[case(200, None, Some(FailureReason::ExecutorFailed), Some("ExecutorFailed"))]
    #[case(400, Some("HOSTED_REFUSED"), Some(FailureReason::ExecutorFailed), Some("ExecutorFailed"))]
    fn the_last_exchange_explains_a_failure(
        #[case] status: u16,
        #[case] refused: Option<&str>,
        #[case] failed: Option<FailureReason>,
        #[case] expected: Option<&str>,
    ) {
        let failure = failed.map(|reason| Failure::new(reason, "exit code 1"));
        let explained = used(status, refused).explain(failure);
        assert_eq!(explained.as_ref().map(|failure| failure.reason.as_str()), expected);
        if let (Some(explained), Some(_)) = (&explained, failed) {
            assert!(explained.message.contains("exit code 1"), "{explained}");
        }
        if expected == Some("ModelBudgetExceeded") && refused == Some(BUDGET_EXCEEDED) {
            assert!(explained.unwrap().message.contains("3 requests of this attempt for $0.10"));
        }
    }

    #[test]
    fn the_broker_knows_what_it_cost() {
        let claimed = ExecutorCost { usd: Some(0.0), tokens: Some(1) };
        let result = ExecutorResult { summary: Some("done".into()), cost: Some(claimed), ..ExecutorResult::default() };
        let result = used(200, None).cost(Some(result));
        assert_eq!((result.summary.as_deref(), result.cost.unwrap().usd), (Some("done"), Some(0.1)));
        assert!(exchanges(b"{}\n").is_err() && exchanges(b"").unwrap().is_empty());
    }
}
