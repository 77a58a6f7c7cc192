//! What the operations of a batch see of the work objects, and what they have decided about them.

use std::collections::{BTreeMap, BTreeSet};

use super::columns::unique_key;
use super::links::{Edge, Linked, Order, issue_of_packet};
use super::model::{ObjectRow, PutObject};
use crate::operation::{Slot, put};
use crate::{Result, StoreError};
use jct_domain::cwom::{Kind, Target};
use jct_domain::{Id, TraceId};

/// The custom resource of a kind in a namespace, by its name.
pub(super) type NameKey = (Kind, String, String);
/// What an object of a kind has alone in a namespace.
pub(super) type UniqueKey = (Kind, String, Vec<String>);

/// What the operations of a batch look at.
#[derive(Debug, Default)]
pub(crate) struct ObjectNeeds {
    pub(super) ids: BTreeMap<Kind, BTreeSet<Id>>,
    /// What is known under these ids, whatever kind it is.
    pub(super) any: BTreeSet<Id>,
    /// Rows by the uids of custom resources, and their links.
    pub(super) uids: BTreeSet<(Kind, String)>,
    /// Rows by the names of custom resources.
    pub(super) names: BTreeSet<NameKey>,
    /// Rows by what must be unique.
    pub(super) unique: BTreeSet<UniqueKey>,
    /// The links of these objects.
    pub(super) links_of: BTreeMap<Kind, BTreeSet<Id>>,
    /// Whether the order of Issues may change.
    pub(super) order: bool,
}

impl ObjectNeeds {
    /// The row with this id.
    pub(crate) fn row(&mut self, kind: Kind, id: Id) {
        self.ids.entry(kind).or_default().insert(id);
    }

    /// The row of the custom resource with this uid.
    pub(super) fn uid(&mut self, kind: Kind, uid: &str) {
        self.uids.insert((kind, uid.to_owned()));
    }

    /// The Repo that has this slug in its namespace.
    pub(crate) fn slug(&mut self, namespace: &str, slug: &str) {
        self.unique.insert((Kind::Repo, namespace.to_owned(), vec![slug.to_owned()]));
    }

    /// The row and its links, both of which may change.
    pub(super) fn whole(&mut self, kind: Kind, id: Id) {
        self.row(kind, id);
        self.links_of.entry(kind).or_default().insert(id);
        self.order |= kind == Kind::Issue;
    }

    /// What may be found under an id, of which only the kind that it should have is known.
    pub(super) fn reference(&mut self, kind: Kind, id: Id) {
        self.row(kind, id);
        self.any.insert(id);
    }

    /// All that [`PutObject`] looks at.
    pub(super) fn put(&mut self, wanted: &PutObject) {
        let kind = wanted.spec.kind();
        self.whole(kind, wanted.id);
        self.any.insert(wanted.id);
        if let Some(origin) = &wanted.origin {
            self.uid(kind, &origin.uid);
            self.names.insert((kind, wanted.namespace.clone(), origin.name.clone()));
        }
        self.unique.extend(unique_key(&wanted.spec).map(|key| (kind, wanted.namespace.clone(), key)));
        for (_, reference) in wanted.spec.refs() {
            match &reference.target {
                Target::Id(id) => self.reference(reference.kind, *id),
                Target::Name(name) => {
                    self.names.insert((reference.kind, wanted.namespace.clone(), name.clone()));
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let Self { ids, any, uids, names, unique, links_of, order: _ } = self;
        ids.is_empty()
            && any.is_empty()
            && uids.is_empty()
            && names.is_empty()
            && unique.is_empty()
            && links_of.is_empty()
    }
}

/// What an operation has decided about work objects.
#[derive(Debug, Default)]
pub(crate) struct ObjectChanges {
    /// Rows as they will be.
    pub(crate) rows: Vec<ObjectRow>,
    pub(super) linked: Vec<(Linked, TraceId)>,
    /// Links that are no more.
    pub(super) unlinked: Vec<Linked>,
}

/// What is known under an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// Of an object; none for a Task.
    pub(super) kind: Option<Kind>,
    pub(super) namespace: String,
}

/// What becomes of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkAction {
    Kept,
    Added(TraceId),
    Removed,
}

/// What the operations of a batch see: as loaded, and as decided since.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(super) rows: BTreeMap<Id, Slot<ObjectRow>>,
    pub(super) holders: BTreeMap<Id, Holder>,
    pub(super) uids: BTreeMap<(Kind, String), Id>,
    pub(super) names: BTreeMap<NameKey, Id>,
    pub(super) unique: BTreeMap<UniqueKey, Id>,
    pub(super) links: BTreeMap<Linked, LinkAction>,
    /// Each ContextPacket that is for an Issue whose links may change.
    pub(super) packets: BTreeSet<(Id, Id)>,
    /// The links that order Issues, around those that may change.
    pub(super) order: BTreeSet<Linked>,
}

impl Objects {
    /// The object with this id, if it is of this kind.
    pub(crate) fn row(&self, kind: Kind, id: Id) -> Result<Option<&ObjectRow>> {
        let row = self.rows.get(&id).map(Slot::get).transpose()?;
        Ok(row.filter(|row| row.object.kind() == kind))
    }

    /// The object with this id and kind, which must be there.
    pub(crate) fn known(&self, kind: Kind, id: Id) -> Result<&ObjectRow> {
        self.row(kind, id)?.ok_or_else(|| StoreError::corrupt("cwom", id, format_args!("there is no such {kind}")))
    }

    /// The object of this kind that has `key` in the namespace.
    pub(super) fn unique(&self, kind: Kind, namespace: &str, key: Vec<String>) -> Option<Id> {
        self.unique.get(&(kind, namespace.to_owned(), key)).copied()
    }

    /// The Repo that has this slug in the namespace.
    pub(crate) fn repo(&self, namespace: &str, slug: &str) -> Option<Id> {
        self.unique(Kind::Repo, namespace, vec![slug.to_owned()])
    }

    /// The object of this kind whose custom resource has this name.
    pub(super) fn named(&self, kind: Kind, namespace: &str, name: &str) -> Option<Id> {
        self.names.get(&(kind, namespace.to_owned(), name.to_owned())).copied()
    }

    /// The object of this kind whose custom resource has this uid.
    pub(super) fn of_uid(&self, kind: Kind, uid: &str) -> Option<Id> {
        self.uids.get(&(kind, uid.to_owned())).copied()
    }

    /// The links of an object.
    pub(super) fn links_of(&self, from: Id) -> impl Iterator<Item = Linked> {
        self.links
            .iter()
            .filter(move |(link, fate)| link.from == from && **fate != LinkAction::Removed)
            .map(|(link, _)| *link)
    }

    /// The order among Issues, as it is without the links of this one.
    pub(super) fn order_without(&self, issue: Id) -> IssueOrder {
        let mut order = IssueOrder::default();
        self.order
            .iter()
            .filter(|link| link.from != issue)
            .filter_map(|link| link.edge())
            .for_each(|edge| order.add(edge));
        order
    }

    /// Takes over what was decided.
    pub(crate) fn stage(&mut self, changes: ObjectChanges) {
        let ObjectChanges { rows, linked, unlinked } = changes;
        for row in rows {
            self.stage_row(row);
        }
        for (link, trace_id) in linked {
            let fate = match self.links.get(&link) {
                Some(LinkAction::Kept | LinkAction::Removed) => LinkAction::Kept,
                _ => LinkAction::Added(trace_id),
            };
            self.links.insert(link, fate);
            if link.edge().is_some() {
                self.order.insert(link);
            }
        }
        for link in unlinked {
            match self.links.get(&link) {
                Some(LinkAction::Added(_)) => self.links.remove(&link),
                _ => self.links.insert(link, LinkAction::Removed),
            };
            self.order.remove(&link);
        }
    }

    fn stage_row(&mut self, row: ObjectRow) {
        let kind = row.object.kind();
        let id = row.object.id;
        let is_there = row.deleted_at.is_none();
        let namespace = || row.namespace.clone();
        // A name or uid that it had before is no longer its own.
        self.names.retain(|_, holder| *holder != id);
        self.uids.retain(|_, holder| *holder != id);
        let named = row.origin.as_ref().map(|origin| (kind, namespace(), origin.name.clone()));
        keep(&mut self.names, named, id, is_there);
        keep(&mut self.uids, row.origin.as_ref().map(|origin| (kind, origin.uid.clone())), id, is_there);
        keep(&mut self.unique, unique_key(&row.object.spec).map(|key| (kind, namespace(), key)), id, is_there);
        self.holders.insert(id, Holder { kind: Some(kind), namespace: row.namespace.clone() });
        self.packets.extend(issue_of_packet(&row.object.spec).map(|issue| (issue, id)));
        put(&mut self.rows, id, row);
    }
}

/// What comes before what, among Issues.
#[derive(Debug, Default)]
pub(super) struct IssueOrder(BTreeMap<(Order, Id), Vec<Id>>);

impl IssueOrder {
    pub(super) fn add(&mut self, Edge { order, from, to }: Edge) {
        self.0.entry((order, from)).or_default().push(to);
    }

    /// Whether `edge` would close a circle.
    pub(super) fn closes_circle(&self, Edge { order, from, to }: Edge) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![to];
        while let Some(id) = open.pop() {
            if id == from {
                return true;
            }
            if seen.insert(id) {
                open.extend(self.0.get(&(order, id)).into_iter().flatten());
            }
        }
        false
    }
}

/// Lets `key` lead to `id` as long as the object is there.
fn keep<Key: Ord>(place: &mut BTreeMap<Key, Id>, key: Option<Key>, id: Id, is_there: bool) {
    let Some(key) = key else { return };
    if is_there {
        place.insert(key, id);
    } else if place.get(&key) == Some(&id) {
        place.remove(&key);
    }
}
