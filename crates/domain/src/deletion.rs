//! That somebody asked for the deletion of an object, as an admission webhook was told.

use jiff::Timestamp;

use super::StampKeys;

/// How long a user's name may be in a note, in bytes; a longer one is nobody's.
const USER_BYTES: usize = 1024;
/// The same for the object's uid.
const UID_BYTES: usize = 64;

/// One user who asked for the deletion of one object. It is on its way from the replica that was told to the one that records
/// the deletion, through the database: so it is sealed, and who writes the database can't put words into anybody's mouth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionNote {
    /// Of the object.
    pub uid: String,
    /// Of the object.
    pub namespace: String,
    pub user: String,
    /// Whether an API server that showed its certificate says so.
    pub vouched_for: bool,
    pub at: Timestamp,
    /// The seal on all of it.
    pub seal: String,
}

impl DeletionNote {
    /// A note under the seal of `keys`; none of what is no user or no object.
    pub fn new(
        uid: &str,
        namespace: &str,
        user: &str,
        vouched_for: bool,
        at: Timestamp,
        keys: &StampKeys,
    ) -> Option<Self> {
        let fits = |text: &str, most: usize| !text.is_empty() && text.len() <= most && !text.contains('\0');
        if !fits(uid, UID_BYTES) || !fits(user, USER_BYTES) || !fits(namespace, UID_BYTES) {
            return None;
        }
        // As exact as the databases are.
        let at = Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at);
        let unsealed = Self {
            uid: uid.into(),
            namespace: namespace.into(),
            user: user.into(),
            vouched_for,
            at,
            seal: String::new(),
        };
        Some(Self { seal: unsealed.with_parts(|parts| keys.seal(parts)), ..unsealed })
    }

    /// Whether the seal is on what the note says.
    pub fn holds(&self, keys: &StampKeys) -> bool {
        self.with_parts(|parts| keys.verify(parts, &self.seal))
    }

    fn with_parts<T>(&self, of: impl FnOnce(&[&str]) -> T) -> T {
        let Self { uid, namespace, user, vouched_for, at, seal: _ } = self;
        let (by, at) = (if *vouched_for { "api-server" } else { "anybody" }, at.as_microsecond().to_string());
        of(&["jct deletion v1", by, &at, namespace, uid, user])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StampKey;

    fn keys(byte: u8) -> StampKeys {
        StampKeys::new(StampKey::from_slice(&[byte; 32]).unwrap(), Vec::new(), None)
    }

    #[test]
    fn a_note_says_what_was_sealed_and_nothing_else() {
        let at = "2026-03-01T12:00:00.123456789Z".parse().unwrap();
        let note = DeletionNote::new("u", "team", "ada", false, at, &keys(7)).unwrap();
        assert!(note.holds(&keys(7)) && !note.holds(&keys(8)));
        assert_eq!(note.at.to_string(), "2026-03-01T12:00:00.123456Z");
        let others = [
            DeletionNote { user: "eve".into(), ..note.clone() },
            DeletionNote { uid: "v".into(), ..note.clone() },
            DeletionNote { namespace: "other".into(), ..note.clone() },
            DeletionNote { vouched_for: true, ..note.clone() },
            DeletionNote { at: Timestamp::UNIX_EPOCH, ..note.clone() },
        ];
        assert!(others.iter().all(|other| !other.holds(&keys(7))));
        for (uid, user) in [("", "ada"), ("u", ""), ("u", "nul\0"), (&"u".repeat(65), "ada"), ("u", &"a".repeat(1025))]
        {
            assert_eq!(DeletionNote::new(uid, "team", user, true, at, &keys(7)), None);
        }
    }
}
