//! Who asked for the deletion of which object: noted by the admission webhook, told to the controller.
//!
//! Best effort by design: a deletion never waits for it. What is not here, for the process was started since or the webhook
//! was not asked, nobody knows; nor where several were noted, of which one may be made up.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::crd::Trust;
use crate::domain::Actor;

/// How many objects are remembered: the last ones.
const OBJECTS: usize = 10_000;
/// How many users of one object: more than one already means that nobody knows.
const USERS: usize = 2;
/// How long a user's name may be, in bytes; a longer one is nobody's.
const NAME_BYTES: usize = 1024;

/// Cheap to clone; all clones share what is noted.
#[derive(Clone, Debug, Default)]
pub struct Deletions(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    by_uid: HashMap<String, Requests>,
    order: VecDeque<String>,
}

#[derive(Debug, Default)]
struct Requests {
    namespace: String,
    users: BTreeSet<String>,
    /// Whether each of them was told by an API server that showed its certificate.
    authenticated: bool,
}

impl Deletions {
    /// Notes that `user` asked for the deletion of the object with this uid. `authenticated`: says an API server that showed
    /// its certificate.
    pub fn note(&self, uid: &str, namespace: &str, user: &str, authenticated: bool) {
        if uid.is_empty() || uid.len() > 64 || user.is_empty() || user.len() > NAME_BYTES {
            return;
        }
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !noted.by_uid.contains_key(uid) {
            let fresh = Requests { namespace: namespace.into(), users: BTreeSet::new(), authenticated: true };
            noted.by_uid.insert(uid.into(), fresh);
            noted.order.push_back(uid.into());
            if noted.order.len() > OBJECTS
                && let Some(oldest) = noted.order.pop_front()
            {
                noted.by_uid.remove(&oldest);
            }
        }
        if let Some(requests) = noted.by_uid.get_mut(uid) {
            requests.authenticated &= authenticated;
            if requests.users.len() < USERS {
                requests.users.insert(user.into());
            }
        }
    }

    /// Who deleted the object with this uid, as far as that is known and believed.
    pub fn by(&self, uid: &str, trust: &Trust) -> Actor {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(requests) = noted.by_uid.get(uid) else { return Actor::unknown() };
        // No API server asks about that namespace, nor about any while the configurations are gone.
        let asked =
            requests.namespace != trust.own_namespace && (requests.authenticated || trust.covered_since.is_some());
        match requests.users.first() {
            Some(user) if asked && requests.users.len() == 1 => Actor::authenticated(user),
            _ => Actor::unknown(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ActorKind, StampKey, StampKeys};

    fn trust() -> Trust {
        let key = StampKey::from_slice(&[7; 32]).unwrap();
        Trust::in_keys(StampKeys::new(key, Vec::new(), None), "jct-system")
    }

    #[test]
    fn who_deleted_is_who_asked_and_nobody_else() {
        let deletions = Deletions::default();
        deletions.note("u", "team", "mallory", false);
        deletions.note("u", "team", "mallory", false);
        assert_eq!(deletions.by("u", &trust()), Actor { kind: ActorKind::Human, id: "mallory".into() });
        assert_eq!(deletions.by("other", &trust()), Actor::unknown());
        // One of them is made up: who can tell which?
        deletions.note("u", "team", "alice", false);
        assert_eq!(deletions.by("u", &trust()), Actor::unknown());
    }

    #[test]
    fn what_no_api_server_can_have_asked_is_not_believed() {
        let deletions = Deletions::default();
        deletions.note("own", "jct-system", "alice", true);
        deletions.note("forged", "team", "alice", false);
        deletions.note("vouched", "team", "alice", true);
        let gone = Trust { covered_since: None, ..trust() };
        assert_eq!(deletions.by("own", &trust()), Actor::unknown());
        assert_eq!(deletions.by("forged", &gone), Actor::unknown());
        assert_eq!(deletions.by("vouched", &gone).id, "alice");
    }

    #[test]
    fn notes_are_bounded() {
        let deletions = Deletions::default();
        for n in 0..OBJECTS + 5 {
            deletions.note(&format!("u{n}"), "team", "ada", false);
        }
        let noted = deletions.0.lock().unwrap();
        assert_eq!((noted.by_uid.len(), noted.order.len()), (OBJECTS, OBJECTS));
        assert!(!noted.by_uid.contains_key("u0") && noted.by_uid.contains_key("u5"));
    }
}
