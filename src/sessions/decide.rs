//! What a Session is to be answered. Pure.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::crd::Trust;
use crate::crd::session::{Session, SessionReason};
use crate::domain::Principal;

/// How many Sessions of one user are answered that have not ended.
pub const MOST_OF_USER: usize = 32;
/// How many in all: each is an object of the API server's.
pub const MOST_OF_ALL: usize = 4096;
/// How many of one user are answered within a minute.
const PER_MINUTE: f64 = 60.0;
/// How many users' rates are kept apart. Those who are at rest are forgotten first.
const RATES: usize = 4096;
/// How long a Session that was refused can be read.
const REFUSED: SignedDuration = SignedDuration::from_secs(60);

/// What is to be done about a Session.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It has been answered: it is to go then.
    Answered(Timestamp),
    /// It gets a token that ends then.
    Issue(Principal, Timestamp),
    /// It gets none, for this reason, in a sentence.
    Refuse(SessionReason, String),
    /// It is too late for it, or it goes already.
    Nothing(Option<Timestamp>),
}

/// What `session` is to be answered by who trusts these seals; `live` counts those of a user, and all. A token lives for
/// `life` from when the Session was made.
pub fn decide(session: &Session, trust: &Trust, now: Timestamp, life: SignedDuration, live: &mut Live) -> Decision {
    if session.metadata.deletion_timestamp.is_some() {
        return Decision::Nothing(None);
    }
    let created = session.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let ends = created.saturating_add(life).unwrap_or(created);
    if let Some(condition) = session.ready() {
        let issued = condition.status == "True";
        let until = session.status.as_ref().and_then(|status| status.expires_at.as_ref()).map(|time| time.0);
        let since = condition.last_transition_time.0;
        return Decision::Answered(match until {
            Some(until) if issued => until,
            _ => since.saturating_add(REFUSED).unwrap_or(since),
        });
    }
    if ends <= now {
        return Decision::Nothing(Some(now));
    }
    let refuse = |reason, message: &str| Decision::Refuse(reason, message.to_owned());
    let Some(owner) = session.owner(trust) else {
        let own = session.metadata.namespace.as_deref() == Some(&trust.own_namespace);
        return match own {
            true => refuse(
                SessionReason::Unsealed,
                "nobody vouches for who makes a Session in the operator's own namespace: make it in another one",
            ),
            false => refuse(
                SessionReason::Unsealed,
                "it has no seal of JCT's webhook, which would say who made it: make it again; if that is of no help, see \
                 whether the webhook is configured",
            ),
        };
    };
    if owner.is_cut() {
        return refuse(
            SessionReason::TooManyGroups,
            "the API server says more of you (groups, extra fields) than is kept of anybody: what you may do can't be asked",
        );
    }
    if live.of(&owner.user) >= MOST_OF_USER || live.all() >= MOST_OF_ALL {
        let message = format!(
            "there are {MOST_OF_USER} Sessions of yours, or {MOST_OF_ALL} in all, that have not ended: delete some, or try \
             again later"
        );
        return Decision::Refuse(SessionReason::TooManySessions, message);
    }
    if !live.rates.take(&owner.user, now) {
        return refuse(SessionReason::TooManySessions, "you made too many within a minute: keep one for longer");
    }
    Decision::Issue(owner, ends)
}

/// The Sessions that are there.
#[derive(Debug, Default)]
pub struct Live {
    known: HashMap<(String, String), Known>,
    rates: Rates,
}

/// One of them.
#[derive(Clone, Debug)]
struct Known {
    uid: String,
    user: Option<String>,
    /// When it is to go.
    until: Option<Timestamp>,
}

impl Live {
    /// How many tokens of `user` there are.
    fn of(&self, user: &str) -> usize {
        self.known.values().filter(|known| known.user.as_deref() == Some(user)).count()
    }

    fn all(&self) -> usize {
        self.known.values().filter(|known| known.user.is_some()).count()
    }

    /// Takes note of one that is there until then.
    pub fn note(&mut self, session: &Session, user: Option<String>, until: Option<Timestamp>) {
        let uid = session.metadata.uid.clone().unwrap_or_default();
        self.known.insert(key(session), Known { uid, user, until });
    }

    /// Takes note that one is gone.
    pub fn forget(&mut self, session: &Session) {
        self.known.remove(&key(session));
    }

    /// Begins anew: all that are there are about to be told.
    pub fn clear(&mut self) {
        self.known.clear();
    }

    /// Namespace, name and uid of those that are to go by now.
    pub fn ended(&self, now: Timestamp) -> Vec<(String, String, String)> {
        let ended = self.known.iter().filter(|(_, known)| known.until.is_some_and(|until| until <= now));
        ended.map(|((namespace, name), known)| (namespace.clone(), name.clone(), known.uid.clone())).collect()
    }
}

fn key(session: &Session) -> (String, String) {
    let metadata = &session.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// How many each user may still make now.
#[derive(Debug, Default)]
struct Rates(HashMap<String, (f64, Timestamp)>);

impl Rates {
    fn take(&mut self, user: &str, now: Timestamp) -> bool {
        let rest = |(left, at): (f64, Timestamp)| {
            let passed = now.duration_since(at).as_secs_f64().max(0.0);
            (left + passed * PER_MINUTE / 60.0).min(PER_MINUTE)
        };
        if self.0.len() >= RATES {
            self.0.retain(|_, known| rest(*known) < PER_MINUTE);
        }
        let left = self.0.get(user).copied().map_or(PER_MINUTE, rest);
        if left < 1.0 || (self.0.len() >= RATES && !self.0.contains_key(user)) {
            return false;
        }
        self.0.insert(user.to_owned(), (left - 1.0, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;
    use std::collections::BTreeMap;

    use super::*;
    use crate::crd::session::SessionSpec;
    use crate::crd::stamps::{Issuer, Seal, Sealed, Stamps};
    use crate::domain::{StampKey, StampKeys, submitted_digest};

    const HOUR: SignedDuration = SignedDuration::from_secs(3600);

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn trust() -> Trust {
        Trust::in_keys(StampKeys::new(StampKey::from_slice(&[7; 32]).unwrap(), Vec::new(), None), "jct-system")
    }

    /// A Session as the webhook leaves it.
    fn session(name: &str, owner: &Principal, issuer: Issuer) -> Session {
        let mut session = Session::new(name, SessionSpec { public_key: "A".repeat(43) + "=" });
        session.metadata.namespace = Some("team".into());
        session.metadata.uid = Some(format!("uid-of-{name}"));
        session.metadata.creation_timestamp = Some(Time(now()));
        let stamps = Stamps { submitter: owner.clone(), trace_id: "a-trace-id".parse().unwrap(), run: None };
        let sealed = Sealed { kind: "Session", namespace: "team", name, generate_name: "" };
        let sha256 = submitted_digest("Session", &json!(session.spec));
        let seal = Seal { issuer, at: now() };
        session.metadata.annotations = Some(stamps.annotations(&sealed, &sha256, &seal, &trust().keys));
        session
    }

    fn ada() -> Principal {
        Principal::new("ada", Some("u1".into()), &["makers".to_owned()], &BTreeMap::new())
    }

    fn of(session: &Session) -> Decision {
        decide(session, &trust(), now(), HOUR, &mut Live::default())
    }

    fn reason(decision: Decision) -> Option<SessionReason> {
        match decision {
            Decision::Refuse(reason, _) => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn who_made_it_gets_a_token_with_all_that_is_known_of_them() {
        let sealed = session("s", &ada(), Issuer::ApiServer);
        assert_eq!(of(&sealed), Decision::Issue(ada(), now() + HOUR));
        let late = decide(&sealed, &trust(), now() + HOUR, HOUR, &mut Live::default());
        assert_eq!(late, Decision::Nothing(Some(now() + HOUR)), "nobody waits for it any more");
    }

    #[test]
    fn one_that_nobody_vouches_for_gets_none() {
        let sealed = session("s", &ada(), Issuer::ApiServer);
        let mut bare = sealed.clone();
        bare.metadata.annotations = None;
        let mut another_key = sealed.clone();
        another_key.spec.public_key = "B".repeat(43) + "=";
        let mut another_name = sealed.clone();
        another_name.metadata.name = Some("t".into());
        let mut another_user = sealed.clone();
        another_user.metadata.annotations.as_mut().unwrap().insert("jct.dev/submitted-by".into(), "root".into());
        let mut other_groups = sealed.clone();
        let masters = r#"["system:masters"]"#.to_owned();
        other_groups.metadata.annotations.as_mut().unwrap().insert("jct.dev/submitted-by-groups".into(), masters);
        let mut kept = sealed.clone();
        kept.metadata.creation_timestamp = Some(Time(now() + SignedDuration::from_secs(301)));
        for forged in [bare, another_key, another_name, another_user, other_groups, kept] {
            assert_eq!(reason(of(&forged)), Some(SessionReason::Unsealed), "{:?}", forged.metadata);
        }
        let bought = session("s", &ada(), Issuer::Anybody);
        let uncovered = Trust { covered_since: None, ..trust() };
        let decided = decide(&bought, &uncovered, now(), HOUR, &mut Live::default());
        assert_eq!(reason(decided), Some(SessionReason::Unsealed), "whoever reaches the webhook can have such a seal");
    }

    #[test]
    fn somebody_with_more_groups_than_are_kept_gets_none() {
        let many: Vec<String> = (0..2000).map(|n| format!("group-{n}")).collect();
        let cut = Principal::new("ada", None, &many, &BTreeMap::new());
        assert_eq!(reason(of(&session("s", &cut, Issuer::ApiServer))), Some(SessionReason::TooManyGroups));
    }

    #[test]
    fn one_user_has_so_many_and_others_have_theirs() {
        let mut live = Live::default();
        for n in 0..MOST_OF_USER {
            let one = session(&n.to_string(), &ada(), Issuer::ApiServer);
            assert!(matches!(decide(&one, &trust(), now(), HOUR, &mut live), Decision::Issue(..)));
            live.note(&one, Some("ada".into()), Some(now() + HOUR));
        }
        let more = session("more", &ada(), Issuer::ApiServer);
        assert_eq!(reason(decide(&more, &trust(), now(), HOUR, &mut live)), Some(SessionReason::TooManySessions));
        let eve = session("eve", &Principal::named("eve"), Issuer::ApiServer);
        assert!(matches!(decide(&eve, &trust(), now(), HOUR, &mut live), Decision::Issue(..)));
        live.forget(&session("0", &ada(), Issuer::ApiServer));
        assert!(matches!(decide(&more, &trust(), now(), HOUR, &mut live), Decision::Issue(..)), "one has ended");
        assert_eq!(live.ended(now() + HOUR).len(), MOST_OF_USER - 1);
        assert_eq!(live.ended(now()).len(), 0);
    }

    #[test]
    fn one_user_makes_so_many_within_a_minute() {
        let mut live = Live::default();
        let one = session("s", &ada(), Issuer::ApiServer);
        let mut made = 0;
        while matches!(decide(&one, &trust(), now(), HOUR, &mut live), Decision::Issue(..)) {
            made += 1;
        }
        assert_eq!(made, 60);
        let later = now() + SignedDuration::from_secs(2);
        assert!(matches!(decide(&one, &trust(), later, HOUR, &mut live), Decision::Issue(..)));
        let mut rates = Rates::default();
        for n in 0..20_000 {
            rates.take(&n.to_string(), now());
        }
        assert!(rates.0.len() <= RATES, "a flood of names does not grow it");
    }
}
