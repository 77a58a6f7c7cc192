//! Somebody whom the API server has authenticated, with all that it takes to ask later what they may do.

use std::collections::BTreeMap;

use super::id::sha256_hex;

/// The most bytes of groups, as JSON, that are kept with an object: annotations share 256 KiB.
pub const MAX_GROUPS_BYTES: usize = 16 * 1024;
/// The same for what else the authenticator says.
pub const MAX_EXTRA_BYTES: usize = 8 * 1024;

/// Where more was said than is kept: its digest follows.
const DIGEST: &str = "sha256:";
/// Extra fields that describe a credential and are no ground for any decision about rights.
const OF_CREDENTIALS: &str = "authentication.kubernetes.io/";

/// An authenticated user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// Unique among the users of the cluster at one time.
    pub user: String,
    /// Tells users of the same name apart who were there one after the other.
    pub uid: Option<String>,
    /// Which groups they are in, as JSON or as a digest: see [`Principal::groups`].
    groups: Option<String>,
    /// What else the authenticator says, likewise.
    extra: Option<String>,
}

impl Principal {
    /// A user with what the API server says of them. Too long a list is kept as its digest alone.
    pub fn new(
        user: impl Into<String>,
        uid: Option<String>,
        groups: &[String],
        extra: &BTreeMap<String, Vec<String>>,
    ) -> Self {
        let extra: BTreeMap<_, _> = extra.iter().filter(|(name, _)| !name.starts_with(OF_CREDENTIALS)).collect();
        Self {
            user: user.into(),
            uid: uid.filter(|uid| !uid.is_empty()),
            groups: (!groups.is_empty()).then(|| bounded(serde_json::to_string(groups), MAX_GROUPS_BYTES)),
            extra: (!extra.is_empty()).then(|| bounded(serde_json::to_string(&extra), MAX_EXTRA_BYTES)),
        }
    }

    /// A user of whom nothing but the name is known.
    pub fn named(user: impl Into<String>) -> Self {
        Self { user: user.into(), ..Self::default() }
    }

    /// A user as [`Principal::texts`] wrote them down.
    pub fn from_texts(user: String, uid: Option<String>, groups: Option<String>, extra: Option<String>) -> Self {
        Self { user, uid, groups, extra }
    }

    /// Name, uid, groups and extra fields, to be written down; what there is none of is empty.
    pub fn texts(&self) -> [&str; 4] {
        let Self { user, uid, groups, extra } = self;
        [
            user,
            uid.as_deref().unwrap_or_default(),
            groups.as_deref().unwrap_or_default(),
            extra.as_deref().unwrap_or_default(),
        ]
    }

    /// The same as it is put under a seal: of groups and extra fields the digest, so that a cache can do without them.
    pub fn under_seal(&self) -> [String; 4] {
        let [user, uid, groups, extra] = self.texts();
        [user.into(), uid.into(), digested(groups), digested(extra)]
    }

    /// Which groups they are in; `None` if there were too many to be kept.
    pub fn groups(&self) -> Option<Vec<String>> {
        self.groups.as_deref().map_or(Some(Vec::new()), |text| serde_json::from_str(text).ok())
    }

    /// What else the authenticator says; `None` if it was too much to be kept.
    pub fn extra(&self) -> Option<BTreeMap<String, Vec<String>>> {
        self.extra.as_deref().map_or(Some(BTreeMap::new()), |text| serde_json::from_str(text).ok())
    }

    /// Whether more was said of them than is kept.
    pub fn is_cut(&self) -> bool {
        self.groups().is_none() || self.extra().is_none()
    }
}

/// Groups or extra fields as they are put under a seal: their digest. What is a digest already stays one: it says as much to a
/// seal, and nothing to who asks what somebody may do.
pub fn digested(text: &str) -> String {
    if text.is_empty() || text.starts_with(DIGEST) {
        return text.to_owned();
    }
    format!("{DIGEST}{}", sha256_hex(text.as_bytes()))
}

fn bounded(text: serde_json::Result<String>, most: usize) -> String {
    // Texts always serialize.
    let text = text.unwrap_or_default();
    if text.len() <= most { text } else { digested(&text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_user_is_kept_within_bounds() {
        let groups: Vec<String> = (0..3).map(|n| format!("group-{n}")).collect();
        let extra = BTreeMap::from([
            ("scopes".to_owned(), vec!["a".to_owned()]),
            ("authentication.kubernetes.io/credential-id".to_owned(), vec!["JTI=1".to_owned()]),
        ]);
        let ada = Principal::new("ada", Some("u1".into()), &groups, &extra);
        assert_eq!(ada.groups(), Some(groups));
        assert_eq!(ada.extra(), Some(BTreeMap::from([("scopes".to_owned(), vec!["a".to_owned()])])));
        assert!(!ada.is_cut());
        let [user, uid, groups, extra] = ada.texts().map(str::to_owned);
        assert_eq!(Principal::from_texts(user, Some(uid), Some(groups), Some(extra)), ada);

        let many: Vec<String> = (0..2000).map(|n| format!("group-{n}")).collect();
        let eve = Principal::new("eve", None, &many, &BTreeMap::new());
        assert!(eve.is_cut() && eve.groups().is_none() && eve.texts()[2].len() == 71);
        let fewer = Principal::new("eve", None, &many[1..], &BTreeMap::new());
        assert_ne!(eve, fewer, "the digest tells the lists apart");
        assert_ne!(eve.under_seal(), fewer.under_seal());
        let [user, uid, groups, extra] = ada.under_seal();
        assert_eq!((user.as_str(), uid.as_str(), groups.len(), extra.len()), ("ada", "u1", 71, 71));
        let in_short = Principal::from_texts(user, Some(uid), Some(groups), Some(extra));
        assert_eq!(in_short.under_seal(), ada.under_seal(), "a seal is on what a cache keeps, too");
        assert!(in_short.is_cut());
    }

    #[test]
    fn a_user_without_groups_has_none_and_is_not_cut() {
        let bob = Principal::new("bob", Some(String::new()), &[], &BTreeMap::new());
        assert_eq!((bob.groups(), bob.is_cut(), bob.uid.clone()), (Some(Vec::new()), false, None));
        assert_eq!(bob, Principal::named("bob"));
    }
}
