//! A budget that is used up, and somebody who is asked for more.

use jiff::Timestamp;
use serde_json::json;

use super::rows::{HoldColumns, LedgerChanges, unsigned};
use super::{AccountAmounts, task_account};
use crate::audit::Change;
use crate::conn::{Conn, fetch};
use crate::operation::{Changes, Needs, Operation, View};
use crate::rows::{named, parsed, time};
use crate::{Result, Store};
use jct_domain::audit::{Action, EntityKind};
use jct_domain::model::budget::{Amount, Unit};
use jct_domain::model::{Limits, Usd};
use jct_domain::{Actor, Id, choices};

choices! {
    /// How it stands.
    pub enum HoldState {
        /// Somebody is asked.
        Waiting = "waiting",
        /// There is more.
        Raised = "raised",
        /// There is no more: somebody said so, or nobody said anything in time.
        Ended = "ended",
    }
}

/// A Task whose budget of models is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelHold {
    /// It.
    pub task_id: Id,
    /// The attempt that asked last.
    pub attempt: u32,
    /// How it stands.
    pub state: HoldState,
    /// What is used up.
    pub unit: Unit,
    /// Since when somebody is asked.
    pub asked_at: Timestamp,
    /// Until when.
    pub waits_until: Timestamp,
    /// Who decided, if anybody did.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<Timestamp>,
}

/// What somebody decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetDecision {
    /// The Task may use this much; what is not said stays as it is.
    Raise(Limits),
    /// It gets no more.
    End,
}

/// Nobody waits for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Task does not wait for more of its budget of models")]
pub struct NotWaiting;

/// Asks somebody, unless somebody is asked already or there will be no more.
#[derive(Clone, Debug)]
pub struct AskBudget {
    /// The Task.
    pub task_id: Id,
    /// Its attempt.
    pub attempt: u32,
    /// What is used up.
    pub unit: Unit,
    /// Now.
    pub at: Timestamp,
    /// Until when is waited.
    pub until: Timestamp,
}

/// Answers.
#[derive(Clone, Debug)]
pub struct DecideBudget {
    /// The Task.
    pub task_id: Id,
    /// What is decided.
    pub decision: BudgetDecision,
    /// What it could use so far, by its grant: it may have been raised since.
    pub granted: Limits,
    /// Who decides.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

impl Operation for AskBudget {
    type Output = ModelHold;

    fn needs(&self, needs: &mut Needs) {
        needs.ledger.holds.insert(self.task_id);
    }

    fn decide(&self, view: &View) -> Result<(ModelHold, Changes)> {
        let stands = |hold: &&ModelHold| match hold.state {
            HoldState::Waiting => hold.attempt == self.attempt,
            HoldState::Ended => true,
            HoldState::Raised => false,
        };
        if let Some(hold) = view.ledger.hold(self.task_id).filter(stands) {
            return Ok((hold.clone(), Changes::default()));
        }
        let Self { task_id, attempt, unit, at, until } = *self;
        let (state, decided_by, decided_at) = (HoldState::Waiting, None, None);
        let hold =
            ModelHold { task_id, attempt, state, unit, asked_at: at, waits_until: until, decided_by, decided_at };
        Ok((hold.clone(), changes(hold)))
    }
}

/// What waited goes on, or has waited long enough.
pub(super) struct Settled {
    pub(super) task_id: Id,
    pub(super) state: HoldState,
}

impl Operation for Settled {
    type Output = ();

    fn needs(&self, needs: &mut Needs) {
        needs.ledger.holds.insert(self.task_id);
    }

    fn decide(&self, view: &View) -> Result<((), Changes)> {
        let waiting = view.ledger.hold(self.task_id).filter(|hold| hold.state == HoldState::Waiting);
        let Some(hold) = waiting else { return Ok(((), Changes::default())) };
        Ok(((), changes(ModelHold { state: self.state, ..hold.clone() })))
    }
}

impl Operation for DecideBudget {
    type Output = std::result::Result<ModelHold, NotWaiting>;

    fn needs(&self, needs: &mut Needs) {
        needs.ledger.holds.insert(self.task_id);
        needs.ledger.accounts.insert(task_account(self.task_id));
        needs.tasks.insert(self.task_id);
    }

    fn decide(&self, view: &View) -> Result<(Self::Output, Changes)> {
        let waiting = view.ledger.hold(self.task_id).filter(|hold| hold.state == HoldState::Waiting);
        let Some(hold) = waiting else { return Ok((Err(NotWaiting), Changes::default())) };
        let account = view.ledger.account(&task_account(self.task_id));
        let before = self.granted.raised_to(account.raised);
        let (state, raised, note) = match self.decision {
            BudgetDecision::Raise(limits) => {
                let raised = account.raised.raised_to(limits);
                (HoldState::Raised, raised, "the budget of models was raised")
            }
            BudgetDecision::End => (HoldState::Ended, account.raised, "the budget of models was not raised"),
        };
        let (decided_by, decided_at) = (Some(self.actor.id.clone()), Some(self.at));
        let hold = ModelHold { state, decided_by, decided_at, ..hold.clone() };
        let after = self.granted.raised_to(raised);
        let json_of = |state: HoldState, limits: Limits| {
            Some(json!({"model_budget": {"state": state.as_str(), "limits": limits, "spent": account.spent}}))
        };
        let entry = Change {
            actor: self.actor.clone(),
            action: Action::Updated,
            entity_kind: EntityKind::Task,
            entity_id: self.task_id.to_string(),
            before: json_of(HoldState::Waiting, before),
            after: json_of(state, after),
            note: Some(note.into()),
            trace_id: view.known_task(self.task_id)?.trace_id.clone(),
        };
        let mut changes = changes(hold.clone());
        changes.ledger.accounts.push((task_account(self.task_id), AccountAmounts { raised, ..account }));
        changes.entries.push(entry);
        Ok((Ok(hold), changes))
    }
}

fn changes(hold: ModelHold) -> Changes {
    let ledger = LedgerChanges { hold: Some(hold), ..LedgerChanges::default() };
    Changes { ledger, ..Changes::default() }
}

impl From<ModelHold> for HoldColumns {
    fn from(hold: ModelHold) -> Self {
        let ModelHold { task_id, attempt, state, unit, asked_at, waits_until, decided_by, decided_at } = hold;
        Self {
            task_id: task_id.to_string(),
            attempt: attempt.into(),
            state: state.as_str().into(),
            unit: unit.as_str().into(),
            asked_at: asked_at.as_microsecond(),
            waits_until: waits_until.as_microsecond(),
            decided_by,
            decided_at: decided_at.map(Timestamp::as_microsecond),
        }
    }
}

pub(super) fn hold(columns: HoldColumns) -> Result<ModelHold> {
    let HoldColumns { task_id, attempt, state, unit, asked_at, waits_until, decided_by, decided_at } = columns;
    let table = "model_holds";
    Ok(ModelHold {
        state: named(table, &task_id, "state", &state, HoldState::parse)?,
        unit: named(table, &task_id, "unit", &unit, Unit::parse)?,
        asked_at: time(table, &task_id, asked_at)?,
        waits_until: time(table, &task_id, waits_until)?,
        decided_at: decided_at.map(|at| time(table, &task_id, at)).transpose()?,
        attempt: u32::try_from(attempt).unwrap_or_default(),
        task_id: parsed(table, &task_id, &task_id)?,
        decided_by,
    })
}

impl Store {
    /// Asks somebody for more of a Task's budget of models, if nobody is asked yet. How that stands.
    pub async fn ask_model_budget(&self, ask: AskBudget) -> Result<ModelHold> {
        self.inner.writer.write(ask).await
    }

    /// A Task that waited goes on.
    pub async fn resume_model_budget(&self, task_id: Id) -> Result<()> {
        self.inner.writer.write(Settled { task_id, state: HoldState::Raised }).await
    }

    /// A Task has waited long enough.
    pub async fn end_model_budget(&self, task_id: Id) -> Result<()> {
        self.inner.writer.write(Settled { task_id, state: HoldState::Ended }).await
    }

    /// Answers for a Task that waits. It is in the audit log.
    ///
    /// # Errors
    /// The outer one if the database does not take it, the inner one if nothing waits.
    pub async fn decide_model_budget(
        &self,
        decide: DecideBudget,
    ) -> Result<std::result::Result<ModelHold, NotWaiting>> {
        self.inner.writer.write(decide).await
    }

    /// How the budget of a Task stands that somebody was asked for.
    pub async fn model_hold(&self, task_id: Id) -> Result<Option<ModelHold>> {
        super::rows::hold_of(&mut self.inner.readers.acquire().await?.borrow(), task_id).await
    }

    /// What a Task has spent on which model, the greatest sum first.
    pub async fn model_spending(&self, task_id: Id) -> Result<Vec<(String, Amount)>> {
        spending(&mut self.inner.readers.acquire().await?.borrow(), task_id).await
    }
}

async fn spending(conn: &mut Conn<'_>, task_id: Id) -> Result<Vec<(String, Amount)>> {
    let sql = "SELECT alias, CAST(SUM(nanos) AS BIGINT), CAST(SUM(tokens) AS BIGINT), COUNT(*) FROM model_exchanges \
               WHERE task_id = $1 GROUP BY alias ORDER BY 2 DESC, 1 LIMIT 100";
    let rows = fetch!((String, i64, i64, i64), conn, sql, task_id.to_string())?;
    let sum = |(alias, nanos, tokens, requests)| {
        let usd = Usd::from_nanos(unsigned(nanos));
        (alias, Amount { usd, tokens: unsigned(tokens), requests: unsigned(requests) })
    };
    Ok(rows.into_iter().map(sum).collect())
}
