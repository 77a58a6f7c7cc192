//! The questions that somebody else answers.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::Serialize;
use tracing::warn;

use crate::api::error::Problem;
use crate::crd::names::GROUP;

/// A user, as the API server knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Unique among the users of the cluster.
    pub username: String,
    /// Tells users of the same name apart who were there one after the other.
    pub uid: Option<String>,
    /// Which groups they are in.
    pub groups: Vec<String>,
    /// What else the authenticator says; authorizers may look at it.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Something that a user may or may not do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// To do `verb` with resources of ours.
    Resource {
        /// Such as `create`.
        verb: &'static str,
        /// The plural name, in the group `jct.dev`, and after a slash the subresource if it is one.
        resource: &'static str,
        /// Where; in all namespaces when absent.
        namespace: Option<String>,
    },
    /// To do `verb` with a path that is no resource.
    Path {
        /// Such as `get`.
        verb: &'static str,
        /// Such as `/metrics`.
        path: &'static str,
    },
}

impl Right {
    /// To do `verb` with `resource`, in `namespace` or everywhere.
    pub fn resource(verb: &'static str, resource: &'static str, namespace: Option<&str>) -> Self {
        Self::Resource { verb, resource, namespace: namespace.map(str::to_owned) }
    }

    /// To do `verb` with the Tasks of `namespace`.
    pub fn tasks(verb: &'static str, namespace: &str) -> Self {
        Self::resource(verb, "tasks", Some(namespace))
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource { verb, resource, namespace: Some(namespace) } => {
                write!(f, "{verb} {} in namespace {namespace:?}", qualified(resource))
            }
            Self::Resource { verb, resource, namespace: None } => {
                write!(f, "{verb} {} in all namespaces", qualified(resource))
            }
            Self::Path { verb, path } => write!(f, "{verb} {path}"),
        }
    }
}

/// `resource` with our group, as kubectl names it: `tasks.jct.dev`, `tasks.jct.dev/trace`.
pub fn qualified(resource: &str) -> String {
    match resource.split_once('/') {
        Some((resource, subresource)) => format!("{resource}.{GROUP}/{subresource}"),
        None => format!("{resource}.{GROUP}"),
    }
}

/// Who answers.
#[async_trait]
pub trait Authority: Send + Sync {
    /// Whose token this is; nobody's if it is expired, forged, or meant for another audience.
    async fn identify(&self, token: &str) -> Result<Option<Identity>, AuthorityError>;

    /// What a token must be meant for: one of these.
    fn audiences(&self) -> &[String] {
        &[]
    }

    /// Whether `identity` has `right`.
    async fn permit(&self, identity: &Identity, right: &Right) -> Result<bool, AuthorityError>;
}

/// The authority does not answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {action}: {cause}")]
pub struct AuthorityError {
    pub action: &'static str,
    pub cause: String,
}

impl AuthorityError {
    /// 503; the cause goes into the log.
    pub fn into_problem(self) -> Problem {
        warn!(error = %self, "the API server does not decide");
        Problem::unavailable("the Kubernetes API server cannot be asked who you are and what you may do; try again")
    }
}
