//! The token of a Session, encrypted to the key of who asked for it: HPKE (RFC 9180) in base mode, with
//! DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305.
//!
//! A token is bound to the object that it is written on, by the object's uid: on another one it does not open.

#[cfg(feature = "client")]
pub mod client;

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};

/// What tells this use of the keys from any other.
const INFO: &[u8] = b"jct.dev/v1 Session token";
/// Of an X25519 key, and of what the sender adds.
const KEY_BYTES: usize = 32;

/// Why a key or an encrypted token is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The text is no key.
    #[error("must be an X25519 public key: 32 bytes in base64")]
    NoKey,
    /// A key of which every secret could be known: it has a low order.
    #[error("is a key that keeps no secret; make a new one")]
    WeakKey,
    /// It was not encrypted to this key, for this object, or has been changed.
    #[error("the token does not open with this key")]
    NotOurs,
    /// The system gives no random bytes.
    #[error("cannot get random bytes: {0}")]
    Random(getrandom::Error),
}

/// A public key, as `spec.publicKey` has it.
#[derive(Clone)]
pub struct PublicKey(<X25519HkdfSha256 as Kem>::PublicKey);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0.to_bytes()))
    }
}

impl PublicKey {
    /// The key in `text`: 32 bytes in base64.
    ///
    /// # Errors
    /// If it is no key.
    pub fn parse(text: &str) -> Result<Self, SessionError> {
        // Longer than any key: not decoded at all.
        let bytes = (text.len() <= 2 * KEY_BYTES).then(|| BASE64_STANDARD.decode(text).ok()).flatten();
        let bytes = bytes.filter(|bytes| bytes.len() == KEY_BYTES).ok_or(SessionError::NoKey)?;
        Deserializable::from_bytes(&bytes).map(Self).map_err(|_| SessionError::NoKey)
    }

    /// `token` for the owner of this key alone, to be written on the object with this uid. In base64.
    ///
    /// # Errors
    /// [`SessionError::WeakKey`]
    pub fn encrypt(&self, token: &str, uid: &str) -> Result<String, SessionError> {
        let (mode, plain, aad) = (OpModeS::Base, token.as_bytes(), uid.as_bytes());
        let sealed =
            hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(&mode, &self.0, INFO, plain, aad);
        let (added, encrypted) = sealed.map_err(|_| SessionError::WeakKey)?;
        Ok(BASE64_STANDARD.encode([added.to_bytes().as_slice(), &encrypted].concat()))
    }
}

/// The two keys of who asks for a token. They live as long as the question.
pub struct KeyPair {
    private: <X25519HkdfSha256 as Kem>::PrivateKey,
    public: PublicKey,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

impl KeyPair {
    /// New keys.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn generate() -> Result<Self, SessionError> {
        let mut material = [0; KEY_BYTES];
        getrandom::fill(&mut material).map_err(SessionError::Random)?;
        let (private, public) = X25519HkdfSha256::derive_keypair(&material);
        Ok(Self { private, public: PublicKey(public) })
    }

    /// The one to be told.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The token that was encrypted for the object with this uid.
    ///
    /// # Errors
    /// [`SessionError::NotOurs`]
    pub fn decrypt(&self, encrypted: &str, uid: &str) -> Result<String, SessionError> {
        let bytes = BASE64_STANDARD.decode(encrypted).map_err(|_| SessionError::NotOurs)?;
        let (added, encrypted) = bytes.split_at_checked(KEY_BYTES).ok_or(SessionError::NotOurs)?;
        let added = Deserializable::from_bytes(added).map_err(|_| SessionError::NotOurs)?;
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.private,
            &added,
            INFO,
            encrypted,
            uid.as_bytes(),
        );
        let plain = opened.map_err(|_| SessionError::NotOurs)?;
        String::from_utf8(plain).map_err(|_| SessionError::NotOurs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_for_its_owner_on_its_object_alone() {
        let (ada, eve) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let public = PublicKey::parse(&ada.public().to_string()).unwrap();
        let encrypted = public.encrypt("secret", "uid-1").unwrap();
        assert_eq!(ada.decrypt(&encrypted, "uid-1").as_deref(), Ok("secret"), "the control");
        assert!(!BASE64_STANDARD.decode(&encrypted).unwrap().windows(6).any(|part| part == b"secret"));
        assert_eq!(ada.decrypt(&encrypted, "uid-2"), Err(SessionError::NotOurs));
        assert_eq!(eve.decrypt(&encrypted, "uid-1"), Err(SessionError::NotOurs));
        assert_ne!(public.encrypt("secret", "uid-1").unwrap(), encrypted, "each time by a new secret");
        for changed in
            ["", "AAAA", "%", &encrypted[..encrypted.len() - 4], &encrypted.replacen(&encrypted[50..51], "_", 1)]
        {
            assert_eq!(ada.decrypt(changed, "uid-1"), Err(SessionError::NotOurs), "{changed}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let zeros = BASE64_STANDARD.encode([0; 32]);
        let giant = "A".repeat(1 << 20);
        for bad in ["", "hello", "AAAA", &BASE64_STANDARD.encode([7; 31]), &BASE64_STANDARD.encode([7; 33]), &giant] {
            assert_eq!(PublicKey::parse(bad).unwrap_err(), SessionError::NoKey, "{bad:.40}");
        }
        // Of a point of low order everybody knows the secret.
        assert_eq!(PublicKey::parse(&zeros).and_then(|key| key.encrypt("secret", "uid")), Err(SessionError::WeakKey));
    }
}
