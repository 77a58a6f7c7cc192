//! Loading what a batch needs to know of the work objects, and writing what it decided: few statements for many objects.

use std::sync::LazyLock;

use jiff::Timestamp;

use super::columns::{StoredObject, insert_arguments, unique_key, update_arguments};
use super::links::{Join, LinkColumns, Linked};
use super::table::table;
use super::view::{Holder, LinkAction, ObjectNeeds, Objects};
use crate::conn::{Argument, Conn, Values};
use crate::contents::{self, Contents};
use crate::operation::{Fate, Slot};
use crate::rows::{named, parsed};
use crate::{Result, StoreError};
use jct_domain::Id;
use jct_domain::cwom::Kind;

pub(crate) async fn load_objects(conn: &mut Conn<'_>, needs: ObjectNeeds) -> Result<Objects> {
    let ObjectNeeds { ids, any, uids, names, unique, mut links_of, order } = needs;
    let mut objects = Objects::default();
    for (id, holder) in load_holders(conn, any.iter().copied()).await? {
        objects.holders.insert(id, holder);
    }
    for kind in Kind::ALL.iter().copied() {
        let ids = ids.get(&kind).into_iter().flatten().map(|id| vec![id.to_string().into()]);
        load(conn, &table(kind).by_id, kind, ids.collect(), &mut objects).await?;
        let uids = uids.iter().filter(|(of, _)| *of == kind).map(|(_, uid)| vec![uid.into()]);
        for id in load(conn, &table(kind).by_uid, kind, uids.collect(), &mut objects).await? {
            let uid =
                objects.row(kind, id).ok().flatten().and_then(|row| row.origin.as_ref()).map(|origin| &origin.uid);
            if let Some(uid) = uid.cloned() {
                objects.uids.insert((kind, uid), id);
            }
        }
        let names =
            names.iter().filter(|(of, ..)| *of == kind).map(|(_, namespace, name)| vec![namespace.into(), name.into()]);
        load(conn, &table(kind).by_name, kind, names.collect(), &mut objects).await?;
        let keys = unique.iter().filter(|(of, ..)| *of == kind);
        let keys = keys.map(|(_, namespace, key)| [namespace].into_iter().chain(key).map(Argument::from).collect());
        load(conn, &table(kind).by_unique, kind, keys.collect(), &mut objects).await?;
    }
    // Those whose id was not known before.
    for ((kind, _), id) in &objects.uids {
        links_of.entry(*kind).or_default().insert(*id);
    }
    for join in Join::ALL {
        let (kind, ..) = join.field();
        let from = links_of.get(&kind).into_iter().flatten().map(|id| vec![id.to_string().into()]);
        for (from, to) in load_pairs(conn, &join.select(), from.collect()).await? {
            objects.links.insert(Linked { join, from, to }, LinkAction::Kept);
        }
    }
    let issues = links_of.get(&Kind::Issue).into_iter().flatten().map(|id| vec![id.to_string().into()]);
    objects.packets.extend(load_pairs(conn, &PACKETS_FOR, issues.collect()).await?);
    if order {
        // All that the Issues of the batch lead to, and what leads on from there.
        let issues = objects.rows.values().filter_map(|slot| slot.row.as_ref().ok());
        let issues =
            issues.filter(|row| row.object.kind() == Kind::Issue).map(|row| vec![row.object.id.to_string().into()]);
        let from = issues.collect();
        objects.order.extend(load_order(conn, from).await?);
    }
    Ok(objects)
}

/// Writes what was decided.
pub(crate) async fn save_objects(conn: &mut Conn<'_>, objects: &Objects) -> Result<()> {
    // In this order, whatever an object needs is there before it.
    for kind in Kind::ALL.iter().copied() {
        let of = |fate| {
            let slots = objects.rows.values().filter(move |slot| slot.fate == fate);
            slots.filter_map(|slot| slot.row.as_ref().ok()).filter(move |row| row.object.kind() == kind)
        };
        let mut contents = Vec::new();
        let updated = of(Fate::Updated).map(|row| update_arguments(row, &mut contents)).collect::<Result<_>>()?;
        let inserted = of(Fate::Inserted).map(|row| insert_arguments(row, &mut contents)).collect::<Result<_>>()?;
        contents::save(conn, contents).await?;
        table(kind).update.execute(conn, updated).await?;
        table(kind).insert.execute(conn, inserted).await?;
    }
    let now = Timestamp::now().as_microsecond();
    for join in Join::ALL {
        let mut new = Vec::new();
        let mut gone = Vec::new();
        for (link, fate) in objects.links.iter().filter(|(link, _)| link.join == join) {
            match fate {
                LinkAction::Kept => {}
                LinkAction::Added(trace_id) => {
                    let columns = LinkColumns { trace_id: trace_id.as_str().into(), created_at: now };
                    new.push(link.arguments(columns.into_arguments()));
                }
                LinkAction::Removed => gone.push(link.arguments(Vec::new())),
            }
        }
        join.delete().execute(conn, gone).await?;
        join.insert().execute(conn, new).await?;
    }
    Ok(())
}

async fn load(
    conn: &mut Conn<'_>,
    statement: &Values,
    kind: Kind,
    arguments: Vec<Vec<Argument>>,
    objects: &mut Objects,
) -> Result<Vec<Id>> {
    let mut found = Vec::new();
    let rows = statement.fetch_raw(conn, arguments).await?;
    let rows = rows.iter().map(|row| StoredObject::read(kind, row)).collect::<Result<Vec<_>>>()?;
    let contents = Contents::load(conn, rows.iter().flat_map(StoredObject::digests).collect()).await?;
    for stored in rows {
        let id = stored.id()?;
        let row = stored.into_row(&contents);
        if let Ok(row) = &row {
            if row.deleted_at.is_none() {
                let namespace = || row.namespace.clone();
                let name = row.origin.as_ref().map(|origin| origin.name.clone());
                objects.names.extend(name.map(|name| ((kind, namespace(), name), id)));
                objects.unique.extend(unique_key(&row.object.spec).map(|key| ((kind, namespace(), key), id)));
            }
            objects.holders.insert(id, Holder { kind: Some(kind), namespace: row.namespace.clone() });
        }
        objects.rows.insert(id, Slot::loaded(row));
        found.push(id);
    }
    Ok(found)
}

const PACKETS_FOR: Values =
    Values { before: "SELECT issue_id, id FROM cwom_context_packets WHERE issue_id IN (VALUES", width: 1, after: ")" };

async fn load_pairs(conn: &mut Conn<'_>, statement: &Values, rows: Vec<Vec<Argument>>) -> Result<Vec<(Id, Id)>> {
    let found: Vec<(String, String)> = statement.fetch(conn, rows).await?;
    let id = |text: &str| parsed("cwom links", text, text);
    found.iter().map(|(from, to)| Ok((id(from)?, id(to)?))).collect()
}

/// What is known under these ids, of whatever kind.
async fn load_holders(conn: &mut Conn<'_>, ids: impl Iterator<Item = Id>) -> Result<Vec<(Id, Holder)>> {
    /// Tasks, and work objects of every kind.
    static HOLDERS: LazyLock<String> = LazyLock::new(|| {
        let tables = Kind::ALL.map(|kind| (kind.as_str(), table(kind).name));
        let selects = [("Task", "tasks")].into_iter().chain(tables).map(|(kind, name)| {
            format!("SELECT '{kind}', t.id, t.namespace FROM {name} t JOIN wanted w ON t.id = w.id")
        });
        format!(") {}", selects.collect::<Vec<_>>().join(" UNION ALL "))
    });
    let holders = Values { before: "WITH wanted (id) AS (VALUES", width: 1, after: &HOLDERS };
    let rows: Vec<(String, String, String)> =
        holders.fetch(conn, ids.map(|id| vec![id.to_string().into()]).collect()).await?;
    rows.into_iter()
        .map(|(kind, id, namespace)| Ok((parsed("cwom", &id, &id)?, Holder { kind: Kind::parse(&kind), namespace })))
        .collect()
}

/// The links that order Issues, of these ones and of all that they lead to.
async fn load_order(conn: &mut Conn<'_>, issues: Vec<Vec<Argument>>) -> Result<Vec<Linked>> {
    const ORDER: Values = Values {
        before: "WITH RECURSIVE reached (id) AS (SELECT id FROM cwom_issues WHERE id IN (VALUES",
        width: 1,
        after: ") UNION SELECT CASE WHEN r.relation = 'blocked_by' THEN r.issue_id ELSE r.other_id END \
                FROM cwom_issue_relations r JOIN reached ON (r.relation IN ('parent', 'blocks') AND r.issue_id = reached.id) \
                OR (r.relation = 'blocked_by' AND r.other_id = reached.id)) \
                SELECT r.issue_id, r.relation, r.other_id FROM cwom_issue_relations r JOIN reached ON r.issue_id = reached.id \
                UNION SELECT r.issue_id, r.relation, r.other_id FROM cwom_issue_relations r \
                JOIN reached ON r.other_id = reached.id",
    };
    let rows: Vec<(String, String, String)> = ORDER.fetch(conn, issues).await?;
    let link = |(from, relation, to): (String, String, String)| {
        const TABLE: &str = "cwom_issue_relations";
        let join = |name: &str| Join::ALL.into_iter().find(|join| join.relation() == Some(name));
        let join = named(TABLE, &from, "relation", &relation, join)?;
        Ok::<_, StoreError>(Linked { join, from: parsed(TABLE, &from, &from)?, to: parsed(TABLE, &from, &to)? })
    };
    let links = rows.into_iter().map(link).collect::<Result<Vec<_>>>()?;
    Ok(links.into_iter().filter(|link| link.edge().is_some()).collect())
}
