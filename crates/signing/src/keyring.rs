//! The key in use and the public halves of all that ever were. Pure but for making a new key.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::Jwk;
use super::{InvalidKey, PublicKey, SigningKey};

/// A JSON Web Key Set (RFC 7517 section 5).
#[derive(Serialize, Deserialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

/// The key in use and the public halves of all keys, the one in use first, then the last retired.
#[derive(Debug)]
pub struct KeyRing {
    signing: SigningKey,
    public: Vec<PublicKey>,
}

impl KeyRing {
    /// A ring that signs with `signing` from `now` on. Keys of `known` that were in use until now are retired; one that is
    /// put back into use is no longer.
    pub fn new(signing: SigningKey, known: &[PublicKey], now: Timestamp) -> Self {
        let current = signing.public();
        let before = known.iter().find(|key| key.id() == current.id());
        let created_at = before.and_then(|key| key.created_at).or(Some(now));
        let mut public = vec![PublicKey { created_at, retired_at: None, ..current }];
        for key in known {
            if public.iter().all(|there| there.id() != key.id()) {
                public.push(PublicKey { retired_at: key.retired_at.or(Some(now)), ..key.clone() });
            }
        }
        public[1..].sort_by_key(|key| std::cmp::Reverse(key.retired_at));
        Self { signing, public }
    }

    /// A ring with a new key; the one of this ring is retired.
    ///
    /// # Errors
    /// [`InvalidKey::Random`] if there is no randomness.
    pub fn rotated(known: &[PublicKey], now: Timestamp) -> Result<Self, InvalidKey> {
        Ok(Self::new(SigningKey::generate()?, known, now))
    }

    /// Whether the key in use is at least `age` old.
    pub fn is_older_than(&self, age: Duration, now: Timestamp) -> bool {
        let created_at = self.public.first().and_then(|key| key.created_at).unwrap_or(now);
        Duration::try_from(now.duration_since(created_at)).is_ok_and(|passed| passed >= age)
    }

    /// The key to sign with.
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// Every public key.
    pub fn public(&self) -> &[PublicKey] {
        &self.public
    }

    /// The public keys as a JSON Web Key Set (RFC 8037), with `created_at` and `retired_at`.
    pub fn to_jwks(&self) -> Value {
        let set = KeySet { keys: self.public.iter().map(PublicKey::to_jwk).collect() };
        serde_json::to_value(set).unwrap_or_default()
    }
}

/// The Ed25519 keys of a JSON Web Key Set.
///
/// # Errors
/// [`InvalidKey::Set`] if it is none, or one of its Ed25519 keys cannot be read.
pub fn public_keys(jwks: &[u8]) -> Result<Vec<PublicKey>, InvalidKey> {
    let set: KeySet = serde_json::from_slice(jwks).map_err(|error| InvalidKey::Set(error.to_string()))?;
    set.keys.iter().filter_map(|jwk| PublicKey::from_jwk(jwk).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_seed(&[byte; 32]).unwrap()
    }

    fn time(day: u8) -> Timestamp {
        format!("2026-03-{day:02}T12:00:00Z").parse().unwrap()
    }

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn retired_keys_stay_known() {
        let first = KeyRing::new(key(1), &[], time(1));
        let second = KeyRing::new(key(2), first.public(), time(3));
        let third = KeyRing::new(key(3), second.public(), time(5));
        let retired: Vec<_> = third.public().iter().map(|key| (key.created_at, key.retired_at)).collect();
        let expected = [(Some(time(5)), None), (Some(time(3)), Some(time(5))), (Some(time(1)), Some(time(3)))];
        assert_eq!(retired, expected);
        let jwks = serde_json::to_vec(&third.to_jwks()).unwrap();
        assert_eq!(public_keys(&jwks).unwrap(), third.public());
    }

    #[test]
    fn a_key_that_comes_back_is_in_use_again_and_as_old_as_it_is() {
        let first = KeyRing::new(key(1), &[], time(1));
        let second = KeyRing::new(key(2), first.public(), time(3));
        let back = KeyRing::new(key(1), second.public(), time(5));
        assert_eq!((back.public()[0].created_at, back.public()[0].retired_at), (Some(time(1)), None));
        assert_eq!(back.public().len(), 2);
        assert_eq!(back.public()[1].retired_at, Some(time(5)));
    }

    #[test]
    fn age_counts_from_the_making_and_a_clock_that_is_behind_makes_none_old() {
        let ring = KeyRing::new(key(1), &[], time(10));
        assert!(!ring.is_older_than(DAY * 3, time(12)));
        assert!(ring.is_older_than(DAY * 3, time(13)));
        assert!(!ring.is_older_than(DAY, time(1)));
    }

    #[test]
    fn the_set_that_is_served_is_frozen() {
        let ring = KeyRing::new(key(2), KeyRing::new(key(1), &[], time(1)).public(), time(3));
        insta::assert_json_snapshot!("jwks", ring.to_jwks());
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for bad in ["", "[]", "{}", r#"{"keys": 1}"#] {
            assert!(matches!(public_keys(bad.as_bytes()), Err(InvalidKey::Set(_))), "{bad}");
        }
        assert_eq!(public_keys(br#"{"keys": [{"kty": "EC", "crv": "P-256"}]}"#).unwrap(), []);
    }
}
