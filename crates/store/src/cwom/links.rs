//! Links between objects: which references are rows of their own, and their tables.

use super::model::ObjectRow;
use crate::conn::{Argument, Values};
use jct_domain::Id;
use jct_domain::cwom::{Kind, Ref, Spec};

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
        macro_rules! select {
            ($sql:literal) => {
                Values { before: concat!($sql, " IN (VALUES"), width: 1, after: ")" }
            };
        }
        match self {
            Self::IssueContextPackets => {
                select!("SELECT issue_id, context_packet_id FROM cwom_issue_context_packets WHERE issue_id")
            }
            Self::IssueDoctrineRefs => {
                select!("SELECT issue_id, doctrine_ref_id FROM cwom_issue_doctrine_refs WHERE issue_id")
            }
            Self::IssueConstraintSnapshots => {
                select!("SELECT issue_id, constraint_snapshot_id FROM cwom_issue_constraint_snapshots WHERE issue_id")
            }
            Self::RunContextPackets => {
                select!("SELECT run_id, context_packet_id FROM cwom_run_context_packets WHERE run_id")
            }
            Self::RunDoctrineRefs => select!("SELECT run_id, doctrine_ref_id FROM cwom_run_doctrine_refs WHERE run_id"),
            Self::ContextPacketDoctrineRefs => select!(
                "SELECT context_packet_id, doctrine_ref_id FROM cwom_context_packet_doctrine_refs WHERE context_packet_id"
            ),
            Self::IssueParent => {
                select!("SELECT issue_id, other_id FROM cwom_issue_relations WHERE relation = 'parent' AND issue_id")
            }
            Self::IssueBlocks => {
                select!("SELECT issue_id, other_id FROM cwom_issue_relations WHERE relation = 'blocks' AND issue_id")
            }
            Self::IssueBlockedBy => {
                select!(
                    "SELECT issue_id, other_id FROM cwom_issue_relations WHERE relation = 'blocked_by' AND issue_id"
                )
            }
            Self::IssueDuplicates => {
                select!(
                    "SELECT issue_id, other_id FROM cwom_issue_relations WHERE relation = 'duplicates' AND issue_id"
                )
            }
        }
    }

    /// New links.
    pub(super) const fn insert(self) -> Values {
        macro_rules! insert {
            ($table:literal, $from:literal, $to:literal) => {
                Values {
                    before: concat!("INSERT INTO ", $table, " (", $from, ", ", $to, ", trace_id, created_at) VALUES"),
                    width: 4,
                    after: " ON CONFLICT DO NOTHING",
                }
            };
        }
        match self {
            Self::IssueContextPackets => insert!("cwom_issue_context_packets", "issue_id", "context_packet_id"),
            Self::IssueDoctrineRefs => insert!("cwom_issue_doctrine_refs", "issue_id", "doctrine_ref_id"),
            Self::IssueConstraintSnapshots => {
                insert!("cwom_issue_constraint_snapshots", "issue_id", "constraint_snapshot_id")
            }
            Self::RunContextPackets => insert!("cwom_run_context_packets", "run_id", "context_packet_id"),
            Self::RunDoctrineRefs => insert!("cwom_run_doctrine_refs", "run_id", "doctrine_ref_id"),
            Self::ContextPacketDoctrineRefs => {
                insert!("cwom_context_packet_doctrine_refs", "context_packet_id", "doctrine_ref_id")
            }
            Self::IssueParent | Self::IssueBlocks | Self::IssueBlockedBy | Self::IssueDuplicates => Values {
                before: "INSERT INTO cwom_issue_relations (issue_id, other_id, trace_id, created_at, relation) VALUES",
                width: 5,
                after: " ON CONFLICT DO NOTHING",
            },
        }
    }

    /// Links that are no more.
    pub(super) const fn delete(self) -> Values {
        macro_rules! delete {
            ($table:literal, $from:literal, $to:literal) => {
                Values {
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
                }
            };
        }
        match self {
            Self::IssueContextPackets => delete!("cwom_issue_context_packets", "issue_id", "context_packet_id"),
            Self::IssueDoctrineRefs => delete!("cwom_issue_doctrine_refs", "issue_id", "doctrine_ref_id"),
            Self::IssueConstraintSnapshots => {
                delete!("cwom_issue_constraint_snapshots", "issue_id", "constraint_snapshot_id")
            }
            Self::RunContextPackets => delete!("cwom_run_context_packets", "run_id", "context_packet_id"),
            Self::RunDoctrineRefs => delete!("cwom_run_doctrine_refs", "run_id", "doctrine_ref_id"),
            Self::ContextPacketDoctrineRefs => {
                delete!("cwom_context_packet_doctrine_refs", "context_packet_id", "doctrine_ref_id")
            }
            Self::IssueParent | Self::IssueBlocks | Self::IssueBlockedBy | Self::IssueDuplicates => Values {
                before: "WITH gone (from_id, to_id, name) AS (VALUES",
                width: 3,
                after: ") DELETE FROM cwom_issue_relations WHERE issue_id IN (SELECT from_id FROM gone) AND EXISTS \
                        (SELECT 1 FROM gone WHERE from_id = issue_id AND to_id = other_id AND name = relation)",
            },
        }
    }
}

impl Linked {
    /// In the order of [`Join::insert`], but for the trace and the time, which stand between the ids and the relation.
    pub(super) fn columns(self, between: Vec<Argument>) -> Vec<Argument> {
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
