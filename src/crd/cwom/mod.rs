//! The custom resources of the seven CWOM kinds (contract section 2).
//!
//! Their specs are kept as JSON and read by [`crate::domain::cwom::read()`], so that an object of an older or newer form
//! never stalls the watch of its kind. Their schemas and CEL rules come from the same tables ([`rules`]).

pub mod rules;
pub mod status;

#[cfg(test)]
mod tests;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::ApiResource;
use kube::{CustomResource, CustomResourceExt as _};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::cwom::Kind;
pub use status::{ResolvedRef, WorkCondition, WorkObjectStatus, WorkReason};

macro_rules! work_object {
    ($(#[doc = $doc:literal])+ $kind:ident, $spec:ident, $($attribute:tt)+) => {
        $(#[doc = $doc])+
        #[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
        #[kube(
            group = "jct.dev",
            version = "v1",
            category = "jct",
            category = "cwom",
            namespaced,
            status = "WorkObjectStatus",
            $($attribute)+
        )]
        #[serde(transparent)]
        pub struct $spec(pub Map<String, Value>);

        impl JsonSchema for $spec {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($spec).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                rules::spec_schema(Kind::$kind)
            }
        }
    };
}

work_object! {
    /// As the author wrote it.
    Repo, RepoSpec,
    kind = "Repo",
    plural = "repos",
    shortname = "jrepo",
    doc = "A repository that work is done on.",
    printcolumn = r#"{"name":"Slug","type":"string","jsonPath":".spec.slug"}"#,
    printcolumn = r#"{"name":"Visibility","type":"string","jsonPath":".spec.visibility","priority":1}"#,
    printcolumn = r#"{"name":"Recorded","type":"string","jsonPath":".status.conditions[?(@.type==\"Recorded\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
}

work_object! {
    /// As the author wrote it.
    Issue, IssueSpec,
    kind = "Issue",
    plural = "issues",
    shortname = "jissue",
    doc = "Work to be done, and why.",
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".spec.status"}"#,
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.type"}"#,
    printcolumn = r#"{"name":"Priority","type":"string","jsonPath":".spec.priority"}"#,
    printcolumn = r#"{"name":"Title","type":"string","jsonPath":".spec.title","priority":1}"#,
    printcolumn = r#"{"name":"Recorded","type":"string","jsonPath":".status.conditions[?(@.type==\"Recorded\")].status"}"#,
    printcolumn = r#"{"name":"Resolved","type":"string","jsonPath":".status.conditions[?(@.type==\"Resolved\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
}

work_object! {
    /// As the author wrote it.
    ContextPacket, ContextPacketSpec,
    kind = "ContextPacket",
    plural = "contextpackets",
    shortname = "jpacket",
    doc = "What one has to know to do an Issue. Never changes: a new fact is a new ContextPacket.",
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".spec.version"}"#,
    printcolumn = r#"{"name":"Summary","type":"string","jsonPath":".spec.summary","priority":1}"#,
    printcolumn = r#"{"name":"Recorded","type":"string","jsonPath":".status.conditions[?(@.type==\"Recorded\")].status"}"#,
    printcolumn = r#"{"name":"Resolved","type":"string","jsonPath":".status.conditions[?(@.type==\"Resolved\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
}

work_object! {
    /// As the author wrote it.
    ConstraintSnapshot, ConstraintSnapshotSpec,
    kind = "ConstraintSnapshot",
    plural = "constraintsnapshots",
    shortname = "jsnapshot",
    doc = "What work was done under, at one moment. Never changes: a new fact is a new ConstraintSnapshot.",
    printcolumn = r#"{"name":"Scope","type":"string","jsonPath":".spec.scope"}"#,
    printcolumn = r#"{"name":"Owner","type":"string","jsonPath":".spec.owner.actorId"}"#,
    printcolumn = r#"{"name":"Recorded","type":"string","jsonPath":".status.conditions[?(@.type==\"Recorded\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
}

work_object! {
    /// As the author wrote it.
    DoctrineRef, DoctrineRefSpec,
    kind = "DoctrineRef",
    plural = "doctrinerefs",
    shortname = "jdoctrine",
    doc = "A rule that work is bound by. Namespace, name and version together name one, and never change.",
    printcolumn = r#"{"name":"Doctrine","type":"string","jsonPath":".spec.name"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".spec.version"}"#,
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.type"}"#,
    printcolumn = r#"{"name":"Priority","type":"string","jsonPath":".spec.priority"}"#,
    printcolumn = r#"{"name":"Recorded","type":"string","jsonPath":".status.conditions[?(@.type==\"Recorded\")].status"}"#,
    printcolumn = r#"{"name":"Resolved","type":"string","jsonPath":".status.conditions[?(@.type==\"Resolved\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
}

work_object! {
    /// As the author wrote it.
    Run, RunSpec,
    kind = "Run",
    plural = "runs",
    shortname = "jrun",
    doc = "One try at an Issue. Its inputs and outputs are only ever added to.",
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".spec.status"}"#,
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.mode"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Executor","type":"string","jsonPath":".spec.executor.actor.actorId","priority":1}"#,
    printcolumn = r#"{"name":"Task","type":"string","jsonPath":".status.taskName","priority":1}"#,
    printcolumn = r#"{"name":"Recorded","type":"string","jsonPath":".status.conditions[?(@.type==\"Recorded\")].status"}"#,
    printcolumn = r#"{"name":"Resolved","type":"string","jsonPath":".status.conditions[?(@.type==\"Resolved\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
}

work_object! {
    /// As the author wrote it.
    Artifact, ArtifactSpec,
    kind = "Artifact",
    plural = "artifacts",
    shortname = "jartifact",
    doc = "Something that a Run made: it can be fetched by its address or checked by its digest.",
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.type"}"#,
    printcolumn = r#"{"name":"Title","type":"string","jsonPath":".spec.title","priority":1}"#,
    printcolumn = r#"{"name":"Verification","type":"string","jsonPath":".spec.verification.status"}"#,
    printcolumn = r#"{"name":"Recorded","type":"string","jsonPath":".status.conditions[?(@.type==\"Recorded\")].status"}"#,
    printcolumn = r#"{"name":"Resolved","type":"string","jsonPath":".status.conditions[?(@.type==\"Resolved\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
}

/// The definition of the custom resource of this kind.
pub fn definition(kind: Kind) -> CustomResourceDefinition {
    match kind {
        Kind::Repo => Repo::crd(),
        Kind::Issue => Issue::crd(),
        Kind::ContextPacket => ContextPacket::crd(),
        Kind::ConstraintSnapshot => ConstraintSnapshot::crd(),
        Kind::DoctrineRef => DoctrineRef::crd(),
        Kind::Run => Run::crd(),
        Kind::Artifact => Artifact::crd(),
    }
}

/// Group, version and names of the custom resource of this kind, for a client that handles all seven alike.
pub fn api_resource(kind: Kind) -> ApiResource {
    match kind {
        Kind::Repo => ApiResource::erase::<Repo>(&()),
        Kind::Issue => ApiResource::erase::<Issue>(&()),
        Kind::ContextPacket => ApiResource::erase::<ContextPacket>(&()),
        Kind::ConstraintSnapshot => ApiResource::erase::<ConstraintSnapshot>(&()),
        Kind::DoctrineRef => ApiResource::erase::<DoctrineRef>(&()),
        Kind::Run => ApiResource::erase::<Run>(&()),
        Kind::Artifact => ApiResource::erase::<Artifact>(&()),
    }
}
