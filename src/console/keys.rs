//! What is random, and the keys that come of it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::domain::id::hex;
use crate::domain::{StampKey, StampKeys};

/// What the keys are for.
const USE: &str = "jct console v1";

/// A text that nobody guesses; none if the system gives no random bytes.
pub fn secret() -> Option<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Whether a text has the form of [`secret`].
pub fn is_secret(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// What is told of a secret to find what belongs to it.
pub fn id_of(secret: &str) -> String {
    hex(&Sha256::digest(format!("{USE}\0{secret}").as_bytes()))
}

/// The keys to what belongs to `secret`: that of the key that seals now, and those of the keys before it. Neither the secret nor
/// the installation's keys alone give them.
pub fn keys_of(secret: &str, keys: &StampKeys) -> Vec<[u8; 32]> {
    let of = |key: &StampKey| {
        let one = StampKeys::new(key.clone(), Vec::new(), None);
        Sha256::digest(one.seal(&[USE, secret]).as_bytes()).into()
    };
    std::iter::once(keys.sealing()).chain(keys.others()).map(of).collect()
}

/// Whether two texts are the same, told in a time that says nothing of where they differ.
pub fn same(a: &str, b: &str) -> bool {
    Sha256::digest(a.as_bytes()) == Sha256::digest(b.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_of_one_secret_and_one_installation() {
        let keys = |byte: u8| StampKeys::new(StampKey::from_slice(&[byte; 32]).unwrap(), Vec::new(), None);
        let (a, b) = (secret().unwrap(), secret().unwrap());
        assert!(is_secret(&a) && a != b);
        assert_eq!(keys_of(&a, &keys(7)), keys_of(&a, &keys(7)));
        assert_ne!(keys_of(&a, &keys(7)), keys_of(&a, &keys(8)));
        assert_ne!(keys_of(&a, &keys(7)), keys_of(&b, &keys(7)));
        let rotated = StampKeys::new(
            StampKey::from_slice(&[8; 32]).unwrap(),
            vec![StampKey::from_slice(&[7; 32]).unwrap()],
            None,
        );
        assert!(keys_of(&a, &rotated).contains(&keys_of(&a, &keys(7))[0]), "a rotation signs nobody out");
        assert!(!id_of(&a).contains(&a));
    }
}
