//! Signatures as Standard Webhooks 1.0 has them: by them a receiver knows who tells it, and that it is not told again by others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a key begins with, as Standard Webhooks writes it.
const PREFIX: &str = "whsec_";
/// How long a key may be, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// Keys of a receiver: the first one is its own; others are those it had before, or will have.
#[derive(Clone)]
pub struct SigningKeys(Vec<Vec<u8>>);

/// A key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey;

impl std::fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a signing key must be whsec_ and 24 to 64 bytes in base64, one in a line: `echo whsec_$(openssl rand -base64 32)`")
    }
}

impl std::error::Error for InvalidKey {}

impl SigningKeys {
    /// Those of a text, one in a line.
    ///
    /// # Errors
    /// [`InvalidKey`] if there is none, or what is there is none.
    pub fn read(text: &str) -> Result<Self, InvalidKey> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys = lines.map(|line| {
            let bytes = STANDARD.decode(line.strip_prefix(PREFIX).ok_or(InvalidKey)?).map_err(|_| InvalidKey)?;
            if LENGTHS.contains(&bytes.len()) { Ok(bytes) } else { Err(InvalidKey) }
        });
        let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(InvalidKey) } else { Ok(Self(keys)) }
    }

    /// The header `webhook-signature`: one signature by each key.
    pub fn header(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signatures: Vec<_> =
            self.0.iter().map(|key| format!("v1,{}", signature(key, id, timestamp, body))).collect();
        signatures.join(" ")
    }
}

/// The signature of a message with this id and time, in base64: of `id.timestamp.body`.
pub fn signature(key: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The example of the specification, and of its libraries.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let keys = SigningKeys::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let header = keys.header("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(header, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_keys_change_there_is_a_signature_by_each() {
        let (old, new) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let both = SigningKeys::read(&format!("{new}\n{old}\n")).unwrap().header("a", 1, b"");
        let each = [new, old].map(|key| SigningKeys::read(key).unwrap().header("a", 1, b""));
        assert_eq!(both, each.join(" "));
    }

    #[rstest]
    #[case("")]
    #[case("secret")]
    #[case("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    #[case("whsec_c2hvcnQ=")]
    #[case("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nother")]
    fn what_is_no_key_is_refused(#[case] text: &str) {
        assert!(SigningKeys::read(text).is_err());
    }
}
