//! Identifiers: ULIDs that every process derives alike, and trace ids (design decision 2).

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ulid::Ulid;

/// A ULID in its canonical form: 26 upper-case characters of Crockford's base 32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(Ulid);

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a ULID: 26 upper-case characters of 0-9 A-Z without I, L, O, U, the first one 0 to 7")]
pub struct InvalidId;

impl Id {
    /// The id of a Kubernetes object: its creation time, and 80 bits of the SHA-256 of its uid.
    ///
    /// Every process that sees the object computes the same id, so a replay makes no second row.
    pub fn derive(created_at: Timestamp, uid: &str) -> Self {
        Self::from_digest(created_at, &Sha256::digest(uid.as_bytes()))
    }

    /// The id of something that the object with `uid` gives rise to, such as its second attempt (`job/2`).
    pub fn derive_for(created_at: Timestamp, uid: &str, role: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(uid.as_bytes());
        hash.update(b"/");
        hash.update(role.as_bytes());
        Self::from_digest(created_at, &hash.finalize())
    }

    fn from_digest(created_at: Timestamp, digest: &[u8]) -> Self {
        let milliseconds = u64::try_from(created_at.as_millisecond()).unwrap_or(0);
        let random = digest.iter().take(10).fold(0u128, |bits, byte| (bits << 8) | u128::from(*byte));
        Self(Ulid::from_parts(milliseconds, random))
    }

    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_bytes()
    }

    /// The id of these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Ulid::from_bytes(bytes))
    }

    /// The id in lower case, for the names of Kubernetes objects.
    pub fn to_lowercase(self) -> String {
        self.to_string().to_ascii_lowercase()
    }
}

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let canonical = text.len() == 26 && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !canonical {
            return Err(InvalidId);
        }
        let id = Ulid::from_string(text).map(Self).map_err(|_| InvalidId)?;
        // A first character above 7 overflows 128 bits; it must not wrap around to another id.
        if id.to_string() == text { Ok(id) } else { Err(InvalidId) }
    }
}

impl TryFrom<String> for Id {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The one id on everything that a Task touched: 8 to 128 characters of `A-Z a-z 0-9 . _ -`.
///
/// Those that JCT makes are 32 lower-case hex digits, the form of a W3C trace-id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceId(String);

/// Why a text is no trace id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a trace id: 8 to 128 characters of A-Z a-z 0-9 . _ -")]
pub struct InvalidTraceId;

impl TraceId {
    /// A trace id of 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(hex(&bytes))
    }

    /// The trace id of an object that came without one: the same for everyone who derives it.
    pub fn derive(uid: &str) -> Self {
        let digest = Sha256::digest(uid.as_bytes());
        Self(hex(&digest[16..]))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TraceId {
    type Err = InvalidTraceId;

    fn from_str(text: &str) -> Result<Self, InvalidTraceId> {
        let well_formed = (8..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if well_formed { Ok(Self(text.into())) } else { Err(InvalidTraceId) }
    }
}

impl TryFrom<String> for TraceId {
    type Error = InvalidTraceId;

    fn try_from(text: String) -> Result<Self, InvalidTraceId> {
        text.parse()
    }
}

impl From<TraceId> for String {
    fn from(id: TraceId) -> Self {
        id.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hex digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The SHA-256 of `bytes`, as lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "7f9c2ba4-e88f-4a3c-9d52-0f1d6c1f2e11";

    fn noon() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn derivation_is_frozen() {
        // Records out there carry these ids: a change here would orphan them.
        assert_eq!(Id::derive(noon(), UID).to_string(), "01KJMMA2G027CE4HT1RZKZBW4A");
        assert_eq!(Id::derive_for(noon(), UID, "job/1").to_string(), "01KJMMA2G0DG19KF7NBTWHJQEZ");
        assert_eq!(TraceId::derive(UID).as_str().len(), 32);
    }

    #[test]
    fn different_roles_have_different_ids() {
        assert_ne!(Id::derive_for(noon(), UID, "job/1"), Id::derive_for(noon(), UID, "job/2"));
        assert_ne!(Id::derive_for(noon(), UID, ""), Id::derive(noon(), UID));
    }

    #[test]
    fn only_canonical_ulids_parse() {
        let id = "01KJMQFHG0XQBZPWTVRAHTQQ0P";
        assert_eq!(id.parse::<Id>().unwrap().to_string(), id);
        for bad in [
            "",
            &id[..25],
            &format!("{id}0"),
            &id.to_lowercase(),
            "81KJMQFHG0XQBZPWTVRAHTQQ0P",
            "01KJMQFHG0XQBZPWTVRAHTQQ0I",
            "01KJMQFHG0XQBZPWTVRAHTQQ0É",
        ] {
            assert!(bad.parse::<Id>().is_err(), "{bad}");
        }
    }

    #[test]
    fn trace_ids_are_safe_in_paths_headers_and_logs() {
        for bad in ["", "short", "a b c d e f", "abcdefgh\n", "../../../etc", &"x".repeat(129)] {
            assert!(bad.parse::<TraceId>().is_err(), "{bad:?}");
        }
        assert!("4bf92f3577b34da6a3ce929d0e0e4736".parse::<TraceId>().is_ok());
    }
}
