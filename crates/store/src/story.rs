//! What has one trace id, as far as somebody may see it. Rights are a part of the query: what one may not see takes no
//! place on a page.

use std::collections::BTreeSet;

use super::audit::list_where;
use super::conn::{Argument, Conn, Select};
use super::cwom::{objects_of_trace, table_name};
use super::rows::tasks_of_trace;
use super::{AuditQuery, MAX_PAGE, ObjectRow, Result, TaskRow};
use jct_domain::audit::Entry;
use jct_domain::cwom::Kind;
use jct_domain::{Id, TraceId};

/// Tasks, or the work objects of a kind, in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TracePlace {
    /// None for Tasks.
    pub kind: Option<Kind>,
    pub namespace: String,
}

/// What somebody may see of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceVisibility {
    Everything,
    /// What is in these places. Denied requests besides: which of them, their reader has to judge.
    Places(BTreeSet<TracePlace>),
}

impl TraceVisibility {
    /// The namespaces in which Tasks, or objects of this kind, may be seen; none if in all.
    pub(super) fn namespaces(&self, kind: Option<Kind>) -> Option<Vec<String>> {
        match self {
            Self::Everything => None,
            Self::Places(places) => {
                let of_kind = places.iter().filter(|place| place.kind == kind);
                Some(of_kind.map(|place| place.namespace.clone()).collect())
            }
        }
    }
}

/// Where the Tasks and the work objects of a trace are; at most [`MAX_PAGE`] places.
pub(super) async fn places(conn: &mut Conn<'_>, trace_id: &TraceId) -> Result<Vec<TracePlace>> {
    let mut places = Vec::new();
    for kind in std::iter::once(None).chain(Kind::ALL.iter().copied().map(Some)) {
        let mut select = Select::new(match kind.map(table_name) {
            None => "SELECT DISTINCT namespace FROM tasks",
            Some("cwom_repos") => "SELECT DISTINCT namespace FROM cwom_repos",
            Some("cwom_issues") => "SELECT DISTINCT namespace FROM cwom_issues",
            Some("cwom_context_packets") => "SELECT DISTINCT namespace FROM cwom_context_packets",
            Some("cwom_constraint_snapshots") => "SELECT DISTINCT namespace FROM cwom_constraint_snapshots",
            Some("cwom_doctrine_refs") => "SELECT DISTINCT namespace FROM cwom_doctrine_refs",
            Some("cwom_runs") => "SELECT DISTINCT namespace FROM cwom_runs",
            Some(_) => "SELECT DISTINCT namespace FROM cwom_artifacts",
        });
        select.filter("trace_id = ?", trace_id.as_str());
        select.page(" ORDER BY namespace", MAX_PAGE, 0);
        let rows: Vec<(String,)> = select.fetch(conn).await?;
        places.extend(rows.into_iter().map(|(namespace,)| TracePlace { kind, namespace }));
    }
    Ok(places)
}

/// The Tasks, by id after `after`.
pub(super) async fn tasks(
    conn: &mut Conn<'_>,
    trace_id: &TraceId,
    sight: &TraceVisibility,
    after: Option<Id>,
    limit: u32,
) -> Result<Vec<TaskRow>> {
    let namespaces = sight.namespaces(None);
    if namespaces.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    tasks_of_trace(conn, trace_id, namespaces, after, limit).await
}

pub(super) async fn objects(
    conn: &mut Conn<'_>,
    trace_id: &TraceId,
    sight: &TraceVisibility,
) -> Result<Vec<ObjectRow>> {
    objects_of_trace(conn, trace_id, sight).await
}

/// The audit entries of `query`, whose trace it is.
pub(super) async fn entries(conn: &mut Conn<'_>, query: &AuditQuery, sight: &TraceVisibility) -> Result<Vec<Entry>> {
    let TraceVisibility::Places(places) = sight else { return list_where(conn, query, None).await };
    let trace_id = query.trace_id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default();
    let mut conditions = vec!["entity_kind = 'AdmissionDenial'".to_owned()];
    let mut arguments: Vec<Argument> = Vec::new();
    let kinds: BTreeSet<Option<Kind>> = places.iter().map(|place| place.kind).collect();
    for kind in kinds {
        let namespaces = sight.namespaces(kind).unwrap_or_default();
        let here = format!("trace_id = ? AND namespace IN ({})", vec!["?"; namespaces.len()].join(", "));
        let mut add = |condition: String| {
            conditions.push(condition);
            arguments.push(trace_id.clone().into());
            arguments.extend(namespaces.iter().map(Argument::from));
        };
        match kind {
            Some(kind) => {
                let (name, table) = (kind.as_str(), table_name(kind));
                add(format!("(entity_kind = '{name}' AND entity_id IN (SELECT id FROM {table} WHERE {here}))"));
            }
            None => {
                let tasks = format!("SELECT id FROM tasks WHERE {here}");
                add(format!("(entity_kind = 'Task' AND entity_id IN ({tasks}))"));
                for (entity, column) in [("Job", "id"), ("Trace", "trace_path")] {
                    add(format!(
                        "(entity_kind = '{entity}' AND entity_id IN (SELECT {column} FROM jobs WHERE task_id IN ({tasks})))"
                    ));
                }
            }
        }
    }
    list_where(conn, query, Some((format!("({})", conditions.join(" OR ")), arguments))).await
}
