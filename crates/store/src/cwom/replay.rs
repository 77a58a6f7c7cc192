//! What the check of the record asks of work objects: their state as the audit log has it, and their links.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::entries::{LINKS, state, strip_links};
use super::links::Join;
use super::model::ObjectRow;
use crate::Result;
use crate::conn::Conn;
use jct_domain::audit::Action;
use jct_domain::cwom::Kind;

/// A link, as an entry tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordedLink {
    /// The object that says so.
    pub(crate) from: String,
    pub(crate) field: String,
    /// The object that it names.
    pub(crate) to: String,
}

/// The state of a row, with its links.
pub(crate) fn recorded_state(row: &ObjectRow) -> Map<String, Value> {
    state(row)
}

/// What an entry says of an object of this kind, without its links: they have entries of their own.
pub(crate) fn object_state(kind: Kind, logged: Value) -> Value {
    match logged {
        Value::Object(mut state) => {
            strip_links(kind, &mut state);
            state.into()
        }
        other => other,
    }
}

/// Takes an entry about a link into account.
pub(crate) fn apply_link_entry(
    kind: Kind,
    from: &str,
    action: Action,
    before: Option<&Value>,
    after: Option<&Value>,
    links: &mut BTreeSet<RecordedLink>,
) {
    let link = |logged: &Value| {
        let text = |name: &str| logged.get(name).and_then(Value::as_str).map(str::to_owned);
        let field = text("field").filter(|field| Join::of(kind, field).is_some())?;
        Some(RecordedLink { from: from.into(), field, to: text("id")? })
    };
    match action {
        Action::Linked => links.extend(after.and_then(link)),
        Action::Unlinked => {
            if let Some(link) = before.and_then(link) {
                links.remove(&link);
            }
        }
        // Whatever is created anew begins without.
        Action::Created => {
            links.retain(|link| link.from != from);
            let logged = after.and_then(|after| after.get(LINKS)).and_then(Value::as_array);
            links.extend(logged.into_iter().flatten().filter_map(link));
        }
        _ => {}
    }
}

/// The links of these objects of this kind.
pub(crate) async fn present_links(conn: &mut Conn<'_>, kind: Kind, ids: Vec<String>) -> Result<BTreeSet<RecordedLink>> {
    let mut links = BTreeSet::new();
    for join in Join::ALL {
        let (of, field, _) = join.field();
        if of != kind {
            continue;
        }
        let ids = ids.iter().map(|id| vec![id.into()]).collect();
        let pairs: Vec<(String, String)> = join.select().fetch(conn, ids).await?;
        links.extend(pairs.into_iter().map(|(from, to)| RecordedLink { from, field: field.into(), to }));
    }
    Ok(links)
}
