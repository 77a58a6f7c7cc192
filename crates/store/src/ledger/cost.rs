//! What models cost, summed up.

use jiff::Timestamp;

use super::rows::unsigned;
use crate::columns::sql;
use crate::conn::{Conn, fetch};
use crate::{Result, Store};
use jct_domain::choices;
use jct_domain::model::Usd;
use jct_domain::model::budget::Amount;

/// So many sums are told, the greatest first.
const MOST: i64 = 1000;

choices! {
    /// By what costs are summed up.
    pub enum CostBy {
        /// The Task's namespace.
        Namespace = "namespace",
        /// The executor that the Task names; empty where it names none.
        Agent = "agent",
        /// The model, by the program's name for it.
        Model = "model",
        /// The Task's repository.
        Repo = "repo",
    }
}

/// Which exchanges are summed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostQuery {
    /// By what.
    pub by: CostBy,
    /// Of this namespace alone.
    pub namespace: Option<String>,
    /// Of exchanges that ended not before this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
}

impl Store {
    /// What models cost, by what it is asked for: requests that were refused are counted, and cost nothing. Of Tasks whose records are
    /// there.
    pub async fn model_costs(&self, query: &CostQuery) -> Result<Vec<(String, Amount)>> {
        costs(&mut self.inner.readers.acquire().await?.borrow(), query).await
    }
}

macro_rules! sums {
    ($key:literal) => {
        sql!(
            "SELECT ",
            $key,
            " AS name, CAST(SUM(e.nanos) AS BIGINT) AS nanos, CAST(SUM(e.tokens) AS BIGINT) AS tokens, COUNT(*) AS requests \
              FROM model_exchanges e JOIN tasks t ON t.id = e.task_id \
              WHERE e.ended_at >= $1 AND e.ended_at < $2 AND ($3 = '' OR t.namespace = $3) \
              GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $4"
        )
    };
}

async fn costs(conn: &mut Conn<'_>, query: &CostQuery) -> Result<Vec<(String, Amount)>> {
    let CostQuery { by, namespace, since, until } = query;
    let sql = match by {
        CostBy::Namespace => sums!("t.namespace"),
        CostBy::Agent => sums!("COALESCE(t.executor, '')"),
        CostBy::Model => sums!("e.alias"),
        CostBy::Repo => sums!("t.target_repo"),
    };
    let at = |time: &Option<Timestamp>, or| time.map_or(or, Timestamp::as_microsecond);
    let (since, until) = (at(since, i64::MIN), at(until, i64::MAX));
    let namespace = namespace.as_deref().unwrap_or_default();
    let rows = fetch!((String, i64, i64, i64), conn, sql, since, until, namespace, MOST)?;
    let sum = |(name, nanos, tokens, requests)| {
        let usd = Usd::from_nanos(unsigned(nanos));
        (name, Amount { usd, tokens: unsigned(tokens), requests: unsigned(requests) })
    };
    Ok(rows.into_iter().map(sum).collect())
}
