//! `deliveries`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::DeliveryFilter;
use crate::columns::{columns, insert_into, sql};
use crate::conn::{Conn, RawRow, Select, Values, execute, fetch};
use crate::rows::{json, to_json};
use crate::{MAX_PAGE, Page, Result};
use jct_domain::Id;
use jct_domain::delivery::{Delivery, DeliveryPhase};

const TABLE: &str = "deliveries";

columns! {
    pub(crate) struct DeliveryColumns {
        id: String,
        task_id: String,
        attempt: i64,
        pack_id: String,
        namespace: String,
        phase: String,
        due_at: Option<i64>,
        delivery: String,
    }
}

/// What an operation has written.
#[derive(Debug, Default)]
pub(crate) struct DeliveryChanges {
    /// One that begins.
    pub(crate) begun: Option<Box<Delivery>>,
    /// One as it is now.
    pub(crate) changed: Option<Box<Delivery>>,
}

/// What is there, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct DeliveryView {
    there: BTreeMap<Id, Delivery>,
    begun: Vec<Id>,
    changed: BTreeSet<Id>,
}

impl DeliveryView {
    pub(super) fn get(&self, id: Id) -> Option<&Delivery> {
        self.there.get(&id)
    }

    /// Takes over what was decided.
    pub(crate) fn stage(&mut self, changes: DeliveryChanges) {
        let DeliveryChanges { begun, changed } = changes;
        if let Some(begun) = begun {
            self.begun.push(begun.id);
            self.there.insert(begun.id, *begun);
        }
        if let Some(changed) = changed {
            self.changed.insert(changed.id);
            self.there.insert(changed.id, *changed);
        }
    }
}

/// Loads what is needed.
pub(crate) async fn load(conn: &mut Conn<'_>, needs: BTreeSet<Id>) -> Result<DeliveryView> {
    let mut view = DeliveryView::default();
    for id in needs {
        if let Some(found) = one(conn, id).await? {
            view.there.insert(id, found);
        }
    }
    Ok(view)
}

/// Writes what was decided. Those whose review is `closed` become due: what came of it is for whoever looks then.
pub(crate) async fn save(conn: &mut Conn<'_>, view: DeliveryView, closed: &[Id]) -> Result<()> {
    const BEGUN: Values = insert_into!("deliveries", DeliveryColumns, "");
    let DeliveryView { there, begun, changed } = view;
    let of_begun = begun.iter().filter_map(|id| there.get(id)).map(|one| Ok(columns_of(one)?.into_arguments()));
    let of_begun = of_begun.collect::<Result<Vec<_>>>()?;
    if !of_begun.is_empty() {
        BEGUN.execute(conn, of_begun).await?;
    }
    for id in changed.iter().filter(|id| !begun.contains(id)) {
        let Some(now) = there.get(id) else { continue };
        let DeliveryColumns { phase, due_at, delivery, .. } = columns_of(now)?;
        execute!(
            conn,
            "UPDATE deliveries SET phase = $1, due_at = $2, delivery = $3 WHERE id = $4",
            phase,
            due_at,
            delivery,
            id.to_string()
        )?;
    }
    for pack in closed {
        execute!(
            conn,
            "UPDATE deliveries SET due_at = 0 WHERE pack_id = $1 AND phase = $2",
            pack.to_string(),
            DeliveryPhase::AwaitingReview.as_str()
        )?;
    }
    Ok(())
}

/// Removes what there is of a Task.
pub(crate) async fn remove(conn: &mut Conn<'_>, task_id: Id) -> Result<()> {
    execute!(conn, "DELETE FROM deliveries WHERE task_id = $1", task_id.to_string())?;
    Ok(())
}

fn columns_of(delivery: &Delivery) -> Result<DeliveryColumns> {
    Ok(DeliveryColumns {
        id: delivery.id.to_string(),
        task_id: delivery.task_id.to_string(),
        attempt: delivery.attempt.into(),
        pack_id: delivery.evidence_pack.to_string(),
        namespace: delivery.namespace.clone(),
        phase: delivery.phase.as_str().into(),
        due_at: delivery.due_at.map(Timestamp::as_microsecond),
        delivery: to_json(delivery)?,
    })
}

fn delivery(columns: DeliveryColumns) -> Result<Delivery> {
    json(TABLE, &columns.id, &columns.delivery)
}

/// Whether `row`, of all columns, can be read.
pub(crate) fn delivery_parses(row: &RawRow) -> Result<()> {
    delivery(row.read::<DeliveryColumns>()?).map(drop)
}

pub(super) async fn one(conn: &mut Conn<'_>, id: Id) -> Result<Option<Delivery>> {
    const ONE: &str = sql!("SELECT ", DeliveryColumns::NAMES, " FROM deliveries WHERE id = $1");
    fetch!(DeliveryColumns, conn, ONE, id.to_string())?.pop().map(delivery).transpose()
}

pub(super) async fn newest_of(conn: &mut Conn<'_>, task_id: Id) -> Result<Option<Delivery>> {
    const NEWEST: &str =
        sql!("SELECT ", DeliveryColumns::NAMES, " FROM deliveries WHERE task_id = $1 ORDER BY attempt DESC LIMIT 1");
    fetch!(DeliveryColumns, conn, NEWEST, task_id.to_string())?.pop().map(delivery).transpose()
}

pub(super) async fn all(conn: &mut Conn<'_>, filter: &DeliveryFilter, page: Page) -> Result<Vec<Delivery>> {
    let DeliveryFilter { namespace, task_id, phase } = filter;
    let Page { limit, offset, after } = page;
    let mut select = Select::new(sql!("SELECT ", DeliveryColumns::NAMES, " FROM deliveries"));
    select.filter_by("namespace = ?", namespace.clone());
    select.filter_by("task_id = ?", task_id.map(|id| id.to_string()));
    select.filter_by("phase = ?", phase.map(DeliveryPhase::as_str));
    select.filter_by("id < ?", after.map(|id| id.to_string()));
    select.page(" ORDER BY id DESC", limit.clamp(1, MAX_PAGE), offset);
    let rows: Vec<DeliveryColumns> = select.fetch(conn).await?;
    rows.into_iter().map(delivery).collect()
}

pub(super) async fn due(conn: &mut Conn<'_>, now: Timestamp, limit: u32) -> Result<Vec<Delivery>> {
    const DUE: &str =
        sql!("SELECT ", DeliveryColumns::NAMES, " FROM deliveries WHERE due_at <= $1 ORDER BY due_at, id LIMIT $2");
    let rows = fetch!(DeliveryColumns, conn, DUE, now.as_microsecond(), i64::from(limit.clamp(1, MAX_PAGE)))?;
    rows.into_iter().map(delivery).collect()
}
