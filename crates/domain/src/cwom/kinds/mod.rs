//! The seven kinds, one file each, with every field, default and limit of contract section 2.

mod artifact;
mod constraint_snapshot;
mod context_packet;
mod doctrine_ref;
mod issue;
mod repo;
mod run;

pub use artifact::{Artifact, ArtifactType, Check, Verification, VerificationStatus};
pub use constraint_snapshot::{
    Budget, Connectivity, ConstraintSnapshot, Constraints, Energy, Environment, Health, Risk, RiskTolerance, Scope,
    Time, Tools,
};
pub use context_packet::{ContextPacket, DataBlob, PacketInputs};
pub use doctrine_ref::{Applicability, DoctrinePriority, DoctrineRef, DoctrineType};
pub use issue::{Acceptance, Issue, IssueType, Priority, Relationships};
pub use repo::{Repo, RepoPolicy, Visibility};
pub use run::{Cost, Executor, Failure, FailureCategory, Mode, Plan, Run, RunInputs, RunOutputs, Telemetry};
