//! Links between objects: which references are rows of their own, and their tables.

use super::model::ObjectRow;
use crate::columns::{columns, sql};
use crate::conn::{Argument, Values};
use jct_domain::Id;
use jct_domain::cwom::{Kind, Ref, Spec};

/// The links of a table of their own: its name, the column of who says so, and that of what is named.
macro_rules! links {
    ($table:literal, $from:literal, $to:literal) => {
        Statements {
            table: ($table, &[$from, $to]),
            select: Values {
                before: concat!("SELECT ", $from, ", ", $to, " FROM ", $table, " WHERE ", $from, " IN (VALUES"),
                width: 1,
                after: ")",
            },
            insert: Values {
                before: sql!("INSERT INTO ", $table, " (", $from, ", ", $to, ", ", LinkColumns::NAMES, ") VALUES"),
                width: 2 + LinkColumns::WIDTH,
                after: " ON CONFLICT DO NOTHING",
            },
            delete: Values {
                before: "WITH gone (from_id, to_id) AS (VALUES",
                width: 2,
                after: concat!(
                    ") DELETE FROM ",
                    $table,
                    " WHERE ",
                    $from,
                    " IN (SELECT from_id FROM gone) ",
                    "AND EXISTS (SELECT 1 FROM gone WHERE from_id = ",
                    $from,
                    " AND to_id = ",
                    $to,
                    ")"
                ),
            },
        }
    };
}

/// The links of one relation among Issues.
macro_rules! related {
    ($relation:literal) => {
        Statements {
            table: LINK_TABLES[6],
            select: Values {
                before: concat!(
                    "SELECT issue_id, other_id FROM cwom_issue_relations WHERE relation = '",
                    $relation,
                    "' AND issue_id IN (VALUES"
                ),
                width: 1,
                after: ")",
            },
            insert: Values {
                before: sql!(
                    "INSERT INTO cwom_issue_relations (issue_id, other_id, ",
                    LinkColumns::NAMES,
                    ", relation) VALUES"
                ),
                width: 3 + LinkColumns::WIDTH,
                after: " ON CONFLICT DO NOTHING",
            },
            delete: Values {
                before: "WITH gone (from_id, to_id, name) AS (VALUES",
                width: 3,
                after: ") DELETE FROM cwom_issue_relations WHERE issue_id IN (SELECT from_id FROM gone) AND EXISTS \
                        (SELECT 1 FROM gone WHERE from_id = issue_id AND to_id = other_id AND name = relation)",
            },
        }
    };
}

/// A table of links, or one relation of the Issues' table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Join {
    IssueContextPackets,
    IssueDoctrineRefs,
    IssueConstraintSnapshots,
    RunContextPackets,
    RunDoctrineRefs,
    ContextPacketDoctrineRefs,
    IssueParent,
    IssueBlocks,
    IssueBlockedBy,
    IssueDuplicates,
}

/// One link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Linked {
    pub(super) join: Join,
    /// The object that says so.
    pub(super) from: Id,
    /// The object that it names.
    pub(super) to: Id,
}

impl Join {
    pub(super) const ALL: [Self; 10] = [
        Self::IssueContextPackets,
        Self::IssueDoctrineRefs,
        Self::IssueConstraintSnapshots,
        Self::RunContextPackets,
        Self::RunDoctrineRefs,
        Self::ContextPacketDoctrineRefs,
        Self::IssueParent,
        Self::IssueBlocks,
        Self::IssueBlockedBy,
        Self::IssueDuplicates,
    ];

    /// The kind whose field it is, the field, and the kind that it leads to.
    pub(super) const fn field(self) -> (Kind, &'static str, Kind) {
        match self {
            Self::IssueContextPackets => (Kind::Issue, "context_packets", Kind::ContextPacket),
            Self::IssueDoctrineRefs => (Kind::Issue, "doctrine_refs", Kind::DoctrineRef),
            Self::IssueConstraintSnapshots => (Kind::Issue, "constraints", Kind::ConstraintSnapshot),
            Self::RunContextPackets => (Kind::Run, "inputs.context_packets", Kind::ContextPacket),
            Self::RunDoctrineRefs => (Kind::Run, "inputs.doctrine_refs", Kind::DoctrineRef),
            Self::ContextPacketDoctrineRefs => (Kind::ContextPacket, "doctrine_refs", Kind::DoctrineRef),
            Self::IssueParent => (Kind::Issue, "relationships.parent", Kind::Issue),
            Self::IssueBlocks => (Kind::Issue, "relationships.blocks", Kind::Issue),
            Self::IssueBlockedBy => (Kind::Issue, "relationships.blocked_by", Kind::Issue),
            Self::IssueDuplicates => (Kind::Issue, "relationships.duplicates", Kind::Issue),
        }
    }

    /// The one that this field of this kind is, if it is one.
    pub(super) fn of(kind: Kind, field: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|join| {
            let (of, name, _) = join.field();
            (of, name) == (kind, field)
        })
    }

    /// Its name among the relations of Issues, if it is one of them.
    pub(super) const fn relation(self) -> Option<&'static str> {
        match self {
            Self::IssueParent => Some("parent"),
            Self::IssueBlocks => Some("blocks"),
            Self::IssueBlockedBy => Some("blocked_by"),
            Self::IssueDuplicates => Some("duplicates"),
            _ => None,
        }
    }

    /// The links of these objects.
    pub(super) const fn select(self) -> Values {
        self.statements().select
    }

    /// New links.
    pub(super) const fn insert(self) -> Values {
        self.statements().insert
    }

    /// Links that are no more.
    pub(super) const fn delete(self) -> Values {
        self.statements().delete
    }

    const fn statements(self) -> Statements {
        match self {
            Self::IssueContextPackets => ISSUE_CONTEXT_PACKETS,
            Self::IssueDoctrineRefs => ISSUE_DOCTRINE_REFS,
            Self::IssueConstraintSnapshots => ISSUE_CONSTRAINT_SNAPSHOTS,
            Self::RunContextPackets => RUN_CONTEXT_PACKETS,
            Self::RunDoctrineRefs => RUN_DOCTRINE_REFS,
            Self::ContextPacketDoctrineRefs => CONTEXT_PACKET_DOCTRINE_REFS,
            Self::IssueParent => related!("parent"),
            Self::IssueBlocks => related!("blocks"),
            Self::IssueBlockedBy => related!("blocked_by"),
            Self::IssueDuplicates => related!("duplicates"),
        }
    }
}

/// The tables of links: name and key. Every one also has the columns of [`LinkColumns`].
pub(crate) const LINK_TABLES: [(&str, &[&str]); 7] = [
    ISSUE_CONTEXT_PACKETS.table,
    ISSUE_DOCTRINE_REFS.table,
    ISSUE_CONSTRAINT_SNAPSHOTS.table,
    RUN_CONTEXT_PACKETS.table,
    RUN_DOCTRINE_REFS.table,
    CONTEXT_PACKET_DOCTRINE_REFS.table,
    ("cwom_issue_relations", &["issue_id", "relation", "other_id"]),
];

columns! {
    /// What every link has besides its key.
    pub(crate) struct LinkColumns {
        trace_id: String,
        created_at: i64,
    }
}

/// The statements of one kind of links, and their table with its key.
#[derive(Clone, Copy)]
struct Statements {
    table: (&'static str, &'static [&'static str]),
    select: Values,
    insert: Values,
    delete: Values,
}

const ISSUE_CONTEXT_PACKETS: Statements = links!("cwom_issue_context_packets", "issue_id", "context_packet_id");
const ISSUE_DOCTRINE_REFS: Statements = links!("cwom_issue_doctrine_refs", "issue_id", "doctrine_ref_id");
const ISSUE_CONSTRAINT_SNAPSHOTS: Statements =
    links!("cwom_issue_constraint_snapshots", "issue_id", "constraint_snapshot_id");
const RUN_CONTEXT_PACKETS: Statements = links!("cwom_run_context_packets", "run_id", "context_packet_id");
const RUN_DOCTRINE_REFS: Statements = links!("cwom_run_doctrine_refs", "run_id", "doctrine_ref_id");
const CONTEXT_PACKET_DOCTRINE_REFS: Statements =
    links!("cwom_context_packet_doctrine_refs", "context_packet_id", "doctrine_ref_id");

impl Linked {
    /// For [`Join::insert`] with [`LinkColumns`] between the ids and the relation, for [`Join::delete`] with nothing.
    pub(super) fn arguments(self, between: Vec<Argument>) -> Vec<Argument> {
        let mut columns = vec![self.from.to_string().into(), self.to.to_string().into()];
        columns.extend(between);
        columns.extend(self.join.relation().map(Argument::from));
        columns
    }

    /// Which Issue must come before which, if the link says so: the cause first.
    pub(super) fn edge(self) -> Option<Edge> {
        match self.join {
            Join::IssueParent => Some(Edge { order: Order::Parent, from: self.from, to: self.to }),
            Join::IssueBlocks => Some(Edge { order: Order::Blocks, from: self.from, to: self.to }),
            Join::IssueBlockedBy => Some(Edge { order: Order::Blocks, from: self.to, to: self.from }),
            _ => None,
        }
    }
}

/// One step of an order among Issues, whoever of the two says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) order: Order,
    pub(super) from: Id,
    pub(super) to: Id,
}

/// The orders among Issues that must not run in a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// From an Issue to the one that it is a part of.
    Parent,
    /// From an Issue to one that waits for it.
    Blocks,
}

/// The field of a path such as `inputs.context_packets[2]`.
pub(super) fn field_of(path: &str) -> &str {
    path.split_once('[').map_or(path, |(field, _)| field)
}

/// Whether an object can't be without what this field refers to.
pub(super) fn is_required(field: &str) -> bool {
    matches!(field, "repo" | "for_issue" | "produced_by")
}

/// The links that the references of an object make, as far as they are resolved; those in `left_out` are not.
pub(super) fn links_of(row: &ObjectRow, left_out: &[String]) -> Vec<Linked> {
    let kind = row.object.kind();
    let link = |(path, reference): (String, &Ref)| {
        let join = Join::of(kind, field_of(&path))?;
        let to = reference.id().filter(|_| !left_out.contains(&path))?;
        Some(Linked { join, from: row.object.id, to })
    };
    row.object.spec.refs().into_iter().filter_map(link).collect()
}

/// The Issue that a ContextPacket is for.
pub(super) fn issue_of_packet(spec: &Spec) -> Option<Id> {
    match spec {
        Spec::ContextPacket(packet) => packet.for_issue.id(),
        _ => None,
    }
}
