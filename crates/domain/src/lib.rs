//! The words of JCT: what a Task is, which states it passes, what is written down about it.
//!
//! Pure: no clock, no IO, no async, no Kubernetes client. Everything else depends on this module; it depends on nothing.

pub mod actor;
pub mod applied;
pub mod audit;
pub mod checkpoint;
pub mod client;
pub mod configuration;
pub mod cwom;
pub mod deletion;
pub mod denial;
pub mod digest;
pub mod evidence;
pub mod executor;
pub mod finding;
pub mod forge;
pub mod id;
pub mod json;
pub mod lifecycle;
pub mod model;
pub mod name;
pub mod naming;
pub mod notification;
pub mod policy;
pub mod principal;
pub mod provenance;
pub mod retention;
pub mod review;
pub mod shown;
pub mod spec_change;
pub mod stamp;
pub mod table;
pub mod task;
pub mod trace;
pub mod url;

pub use actor::{Actor, ActorKind};
pub use deletion::DeletionNote;
pub use denial::Denial;
pub use digest::{SpecDigests, spec_digest, submitted_digest, task_digest};
pub use finding::{Code, Finding, does_not_exist};
pub use id::{Id, TraceId};
pub use lifecycle::{FailureReason, Phase};
pub use naming::Naming;
pub use principal::Principal;
pub use spec_change::SpecChange;
pub use stamp::{StampKey, StampKeys};
pub use task::Task;
