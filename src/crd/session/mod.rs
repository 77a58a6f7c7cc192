//! The Session custom resource (docs/contract-next.md): somebody asks to be known to the API as the person that
//! the API server knows them as, however that is.
//!
//! The webhook stamps who it is; the operator writes a token into the status, encrypted to the key in the spec. The token is as good
//! as the object: it ends with it.

pub mod token;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Trust;
use crate::domain::{Principal, SpecDigests, choices};

/// The one type of a Session's conditions.
pub const READY: &str = "Ready";

/// Asks for a token to the REST API, for the person that makes it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "jct.dev",
    version = "v1",
    kind = "Session",
    plural = "sessions",
    shortname = "jsession",
    namespaced,
    status = "SessionStatus",
    doc = "Asks for a token to JCT's REST API, as the person that makes it. The token ends with this object.",
    printcolumn = r#"{"name":"User","type":"string","jsonPath":".status.user"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Expires","type":"string","jsonPath":".status.expiresAt"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("INVALID_SPEC: spec: cannot change: make a new Session instead"))]
pub struct SessionSpec {
    /// An X25519 public key, 32 bytes in base64: the token is encrypted to it.
    #[schemars(length(min = 44, max = 44))]
    pub public_key: String,
}

/// The answer.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// Who the token is of: the user that the API server authenticated when the Session was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The token, encrypted by HPKE (RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305) to the key of the spec,
    /// with the object's uid as associated data: what the sender adds, then the rest, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_token: Option<String>,
    /// When the token ends, and this object with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Ready, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::status::conditions")]
    pub conditions: Vec<Condition>,
}

choices! {
    /// Why a Session has a token or none: the reasons in `.status.conditions[].reason`.
    pub enum SessionReason {
        /// The token is in the status.
        Issued = "Issued",
        /// The key is none that anything could be encrypted to.
        InvalidKey = "InvalidKey",
        /// It did not come past the webhook, or is in the operator's own namespace: nobody vouches for who made it.
        Unsealed = "Unsealed",
        /// The API server says more of the user (groups, extra fields) than is kept: what they may do can't be asked.
        TooManyGroups = "TooManyGroups",
        /// The user has as many as one may have, or made too many within a minute.
        TooManySessions = "TooManySessions",
    }
}

impl Session {
    /// Who made it, by a seal that is believed and on just this spec.
    pub fn owner(&self, trust: &Trust) -> Option<Principal> {
        let digests = SpecDigests::of("Session", &json!(self.spec));
        let believed = trust.read("Session", &self.metadata, Some(&digests));
        // The version before knew no Sessions: a seal of its form is a copy.
        believed.submitted.filter(|_| !believed.is_v1).map(|stamps| stamps.submitter)
    }

    /// Its condition, if it has been answered.
    pub fn ready(&self) -> Option<&Condition> {
        self.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == READY)
    }
}
