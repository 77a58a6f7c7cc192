//! Who does things: people, agents and systems (contract sections 1 and 4).

use serde::{Deserialize, Serialize};

use crate::choices;

choices! {
    /// The three kinds of actor (contract section 1, `requested_by.kind`).
    pub enum ActorKind {
        /// A person.
        Human = "human",
        /// A program that decides by itself, such as an LLM agent.
        Agent = "agent",
        /// A program that carries out what it was told, such as a controller or a GitOps tool.
        System = "system",
    }
}

/// Who made a change, as the audit log names it (contract section 4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    pub kind: ActorKind,
    /// The user name that the API server authenticated, or the name of one of our own parts.
    pub id: String,
}

impl Actor {
    /// The controller acting by itself.
    pub fn controller() -> Self {
        Self { kind: ActorKind::System, id: "jct-controller".into() }
    }

    /// The webhook, for what it was told by somebody whom nobody has vouched for.
    pub fn webhook() -> Self {
        Self { kind: ActorKind::System, id: "jct-webhook".into() }
    }

    /// `jct db`, run by somebody who has the database and whom nobody has vouched for.
    pub fn maintenance() -> Self {
        Self { kind: ActorKind::System, id: "jct-db".into() }
    }

    /// Somebody whom no admission webhook has vouched for: the object bypassed it.
    pub fn unverified() -> Self {
        Self { kind: ActorKind::System, id: "unverified".into() }
    }

    /// Somebody of whom nobody knows: what they did passed by every webhook.
    pub fn unknown() -> Self {
        Self { kind: ActorKind::System, id: "unknown".into() }
    }

    /// The actor behind an authenticated Kubernetes user name.
    ///
    /// The kind is that of their own identity, whatever a Task claims: service accounts and other `system:` users are
    /// systems, everybody else is a person.
    pub fn authenticated(username: &str) -> Self {
        let kind = if username.starts_with("system:") { ActorKind::System } else { ActorKind::Human };
        Self { kind, id: username.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_account_is_never_a_person() {
        let name = "system:serviceaccount:argocd:controller";
        assert_eq!(Actor::authenticated(name).kind, ActorKind::System);
        assert_eq!(Actor::authenticated("system:node:n1").kind, ActorKind::System);
        assert_eq!(Actor::authenticated("ada@example.org").kind, ActorKind::Human);
    }

    #[test]
    fn names_round_trip() {
        for (kind, name) in ActorKind::ALL.into_iter().zip(ActorKind::NAMES.iter().copied()) {
            assert_eq!((kind.as_str(), ActorKind::parse(name)), (name, Some(kind)));
        }
        assert_eq!(ActorKind::parse("Human"), None);
    }
}
