//! Reading work objects.

use std::collections::BTreeMap;

use super::columns::StoredObject;
use super::links::Join;
use super::model::{ObjectFilter, ObjectRow, PresentObject};
use super::table::{Table, condition, table};
use crate::conn::{Argument, Conn, Select, Values, fetch as fetch_rows};
use crate::contents::Contents;
use crate::rows::parsed;
use crate::story::TraceVisibility;
use crate::{MAX_PAGE, Page, Result};
use jct_domain::cwom::{Kind, Ref, Spec};
use jct_domain::{Id, TraceId};

/// The object of this kind with this id.
pub(crate) async fn object_by_id(conn: &mut Conn<'_>, kind: Kind, id: Id) -> Result<Option<ObjectRow>> {
    let mut select = Select::new(table(kind).select);
    select.filter("id = ?", id.to_string());
    Ok(fetch(conn, kind, select).await?.pop())
}

/// The objects of this kind that fit, the newest first.
pub(crate) async fn objects_of(
    conn: &mut Conn<'_>,
    kind: Kind,
    filter: &ObjectFilter,
    page: Page,
) -> Result<Vec<ObjectRow>> {
    let Page { limit, offset, after } = page;
    let ObjectFilter { namespace, fields } = filter;
    let mut select = Select::new(table(kind).select);
    select.filter_by("namespace = ?", namespace.clone());
    for (field, value) in fields {
        let Some(condition) = condition(conn, kind, *field, value) else { return Ok(Vec::new()) };
        select.filter(condition, value);
    }
    select.filter_by("id < ?", after.map(|id| id.to_string()));
    select.page(" ORDER BY id DESC", limit.clamp(1, MAX_PAGE), offset);
    fetch(conn, kind, select).await
}

/// The objects of a trace that somebody may see, causes before effects; of each kind at most [`MAX_PAGE`], the oldest.
pub(crate) async fn objects_of_trace(
    conn: &mut Conn<'_>,
    trace_id: &TraceId,
    sight: &TraceVisibility,
) -> Result<Vec<ObjectRow>> {
    use Kind::{Artifact, ConstraintSnapshot, ContextPacket, DoctrineRef, Issue, Repo, Run};
    // Every kind: the compiler counts them.
    const CAUSES_FIRST: [Kind; Kind::ALL.len()] =
        [Repo, Issue, ConstraintSnapshot, DoctrineRef, ContextPacket, Run, Artifact];
    let mut rows = Vec::new();
    for kind in CAUSES_FIRST {
        let mut select = Select::new(table(kind).select);
        select.filter("trace_id = ?", trace_id.as_str());
        if let Some(namespaces) = sight.namespaces(Some(kind)) {
            if namespaces.is_empty() {
                continue;
            }
            let places = vec!["?"; namespaces.len()].join(", ");
            select.filter_all(&format!("namespace IN ({places})"), namespaces.into_iter().map(Into::into).collect());
        }
        select.page(" ORDER BY created_at, id", MAX_PAGE, 0);
        rows.extend(fetch(conn, kind, select).await?);
    }
    Ok(rows)
}

/// The name of the table of a kind.
pub(crate) fn table_name(kind: Kind) -> &'static str {
    table(kind).name
}

/// The objects of this kind whose custom resource was not seen to go, after `after`; at most [`MAX_PAGE`].
pub(crate) async fn present_objects(
    conn: &mut Conn<'_>,
    kind: Kind,
    after: Option<&PresentObject>,
) -> Result<Vec<PresentObject>> {
    let (namespace, name, id) = after
        .map_or_else(Default::default, |after| (after.namespace.clone(), after.name.clone(), after.id.to_string()));
    let Table { name: table, present, .. } = *table(kind);
    let limit = i64::from(MAX_PAGE);
    type Columns = (String, String, String, Option<String>, Option<i64>);
    let rows = fetch_rows!(Columns, conn, present, namespace, name, id, limit)?;
    let present = |(id, namespace, name, uid, superseded_at): Columns| {
        let (uid, is_superseded) = (uid.unwrap_or_default(), superseded_at.is_some());
        Ok(PresentObject { id: parsed(table, &id, &id)?, namespace, name, uid, is_superseded })
    };
    rows.into_iter().map(present).collect()
}

/// Of the object of this kind behind the custom resource with this uid, unless that was seen to go: its id, and the digest
/// of the spec that is recorded of it.
pub(crate) async fn recorded_spec(conn: &mut Conn<'_>, kind: Kind, uid: &str) -> Result<Option<(Id, Option<String>)>> {
    let Table { name: table, recorded_spec, .. } = *table(kind);
    let row = fetch_rows!((String, Option<String>), conn, recorded_spec, uid)?.pop();
    row.map(|(id, sha256)| Ok((parsed(table, &id, &id)?, sha256))).transpose()
}

async fn fetch(conn: &mut Conn<'_>, kind: Kind, select: Select) -> Result<Vec<ObjectRow>> {
    let rows = select.fetch_raw(conn).await?;
    let rows = rows.iter().map(|row| StoredObject::read(kind, row)).collect::<Result<Vec<_>>>()?;
    let contents = Contents::load(conn, rows.iter().flat_map(StoredObject::digests).collect()).await?;
    let rows = rows.into_iter().map(|row| row.into_row(&contents));
    let mut rows = rows.collect::<Result<Vec<_>>>()?;
    if kind == Kind::Issue {
        derive(conn, &mut rows).await?;
    }
    Ok(rows)
}

/// Fills in what Issues are told by others: their Runs, and the ContextPackets that are for them.
async fn derive(conn: &mut Conn<'_>, issues: &mut [ObjectRow]) -> Result<()> {
    const RUNS: Values = Values {
        before: "SELECT issue_id, id FROM cwom_runs WHERE issue_id IN (VALUES",
        width: 1,
        after: ") ORDER BY created_at, id",
    };
    let ids = || -> Vec<Vec<Argument>> { issues.iter().map(|row| vec![row.object.id.to_string().into()]).collect() };
    let mut runs = by_issue(RUNS.fetch(conn, ids()).await?)?;
    let mut packets = by_issue(Join::IssueContextPackets.select().fetch(conn, ids()).await?)?;
    for row in issues {
        let Spec::Issue(issue) = &mut row.object.spec else { continue };
        let of = |found: &mut BTreeMap<Id, Vec<Id>>| found.remove(&row.object.id).unwrap_or_default();
        issue.runs = of(&mut runs).into_iter().map(|id| Ref::to(Kind::Run, id)).collect();
        let mut packet_ids = of(&mut packets);
        packet_ids.sort_unstable();
        packet_ids.retain(|id| !issue.context_packets.iter().any(|reference| reference.id() == Some(*id)));
        issue.context_packets.extend(packet_ids.into_iter().map(|id| Ref::to(Kind::ContextPacket, id)));
    }
    Ok(())
}

fn by_issue(pairs: Vec<(String, String)>) -> Result<BTreeMap<Id, Vec<Id>>> {
    let mut found = BTreeMap::<Id, Vec<Id>>::new();
    for (issue, other) in pairs {
        let id = |text: &str| parsed("cwom_issues", &issue, text);
        found.entry(id(&issue)?).or_default().push(id(&other)?);
    }
    Ok(found)
}
