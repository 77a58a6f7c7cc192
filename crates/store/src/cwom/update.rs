//! What becomes of rows and their links, with the entries that tell it.

use super::entries;
use super::links::{Join, Linked, issue_of_packet, links_of};
use super::model::ObjectRow;
use super::view::{LinkAction, Objects};
use crate::operation::Changes;
use crate::rows::stored;
use jct_domain::Actor;

/// Adds a new row with its links, and with that of a ContextPacket to its Issue.
pub(super) fn create(changes: &mut Changes, objects: &Objects, row: &ObjectRow, left_out: &[String], actor: &Actor) {
    let trace_id = &row.object.trace_id;
    let mut links = links_of(row, left_out);
    let issue = issue_of_packet(&row.object.spec);
    links.extend(issue.map(|from| Linked { join: Join::IssueContextPackets, from, to: row.object.id }));
    links.retain(|link| {
        let is_there = matches!(objects.links.get(link), Some(LinkAction::Kept | LinkAction::Added(_)));
        !is_there && !changes.objects.linked.iter().any(|(other, _)| other == link)
    });
    // What follows from a Task is told in one entry.
    let is_in_creation = |link: &Linked| entries::is_made_for_a_task(row) && link.from == row.object.id;
    let (in_creation, others): (Vec<Linked>, Vec<Linked>) = links.iter().partition(|link| is_in_creation(link));
    changes.entries.push(entries::created(row, &in_creation, actor.clone()));
    let others: Vec<Linked> =
        others.into_iter().filter(|link| !entries::add_to_creation(&mut changes.entries, link)).collect();
    changes.entries.extend(others.iter().map(|link| entries::link(*link, true, trace_id, actor.clone())));
    changes.objects.linked.extend(links.into_iter().map(|link| (link, trace_id.clone())));
    changes.objects.rows.push(row.clone());
}

/// What becomes of a row: itself, if nothing has changed.
pub(super) fn update(
    objects: &Objects,
    before: &ObjectRow,
    mut after: ObjectRow,
    left_out: &[String],
    actor: &Actor,
    note: Option<String>,
    at: jiff::Timestamp,
) -> (ObjectRow, Changes) {
    let trace_id = &before.object.trace_id;
    let mut changes = Changes::default();
    let wanted = links_of(&after, left_out);
    let there: Vec<Linked> = objects.links_of(before.object.id).collect();
    for link in wanted.iter().filter(|link| !there.contains(link)) {
        changes.entries.push(entries::link(*link, true, trace_id, actor.clone()));
        changes.objects.linked.push((*link, trace_id.clone()));
    }
    // A ContextPacket stays with the Issue that it is for.
    let is_for = |link: &Linked| objects.packets.contains(&(link.from, link.to));
    for link in there.iter().filter(|link| !wanted.contains(link) && !is_for(link)) {
        changes.entries.push(entries::link(*link, false, trace_id, actor.clone()));
        changes.objects.unlinked.push(*link);
    }
    changes.entries.extend(entries::changed(before, &after, actor.clone(), note));
    let differs = after != *before;
    if !changes.entries.is_empty() {
        after.object.updated_at = stored(at).max(before.object.updated_at);
    }
    if differs || !changes.entries.is_empty() {
        changes.objects.rows.push(after.clone());
    }
    (after, changes)
}

/// The same for a row whose links stay as they are.
pub(super) fn update_fields(
    before: &ObjectRow,
    mut after: ObjectRow,
    actor: &Actor,
    note: Option<String>,
    at: jiff::Timestamp,
) -> (ObjectRow, Changes) {
    let mut changes = Changes::default();
    changes.entries.extend(entries::changed(before, &after, actor.clone(), note));
    if after != *before {
        after.object.updated_at = stored(at).max(before.object.updated_at);
        changes.objects.rows.push(after.clone());
    }
    (after, changes)
}
