//! The token of a Session: which one, until when, under the key of the seals. Without the object it is worth nothing, and it says
//! nothing of who it is: that is asked of the object, each time.
//!
//! So nothing is kept of tokens: whoever reads the database, the objects or the volume finds none, every replica knows them, after
//! a restart too, and deleting the object ends its token.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::domain::StampKeys;

/// How a token begins; other tokens are for the API server to know.
const HEAD: &str = "jct-session-1";
/// What the seal on a token is for.
const USE: &str = "jct session token v1";
/// No token is longer.
const MAX_BYTES: usize = 2048;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionToken {
    pub namespace: String,
    pub name: String,
    /// Its uid: another one of the same name is another Session.
    pub uid: String,
    /// When the token ends, in seconds since 1970.
    pub exp: i64,
}

impl SessionToken {
    /// The token as it is sent. Sealed with the key that seals now: a key that was rotated goes on verifying.
    pub fn sign(&self, keys: &StampKeys) -> String {
        // Texts and a number always serialize.
        let payload = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default());
        let seal = keys.seal(&[USE, &payload]);
        format!("{HEAD}.{payload}.{seal}")
    }

    /// Whether a token has the form of one of a Session.
    pub fn is_one(token: &str) -> bool {
        token.strip_prefix(HEAD).is_some_and(|rest| rest.starts_with('.'))
    }

    /// What `token` says, if the seal on it holds.
    pub fn verify(token: &str, keys: &StampKeys) -> Option<Self> {
        if token.len() > MAX_BYTES || !Self::is_one(token) {
            return None;
        }
        let (payload, seal) = token.get(HEAD.len() + 1..)?.split_once('.')?;
        if !keys.verify(&[USE, payload], seal) {
            return None;
        }
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::StampKey;

    fn keys(byte: u8, others: &[u8]) -> StampKeys {
        let key = |byte: u8| StampKey::from_slice(&[byte; 32]).unwrap();
        StampKeys::new(key(byte), others.iter().map(|byte| key(*byte)).collect(), None)
    }

    #[test]
    fn a_token_is_ours_or_none() {
        let token = SessionToken { namespace: "team".into(), name: "s".into(), uid: "u".into(), exp: 1_000 };
        let text = token.sign(&keys(1, &[]));
        assert_eq!(SessionToken::verify(&text, &keys(1, &[])), Some(token.clone()));
        assert_eq!(SessionToken::verify(&text, &keys(2, &[1])), Some(token), "the key before goes on verifying");
        assert_eq!(SessionToken::verify(&text, &keys(2, &[])), None);
        let forged = BASE64_URL_SAFE_NO_PAD.encode(r#"{"namespace":"team","name":"s","uid":"u","exp":9999999999}"#);
        let seal = text.rsplit('.').next().unwrap();
        let of_stamp = keys(1, &[]).seal(&["jct stamp v2 submitted", &forged]);
        for bad in [
            format!("{HEAD}.{forged}.{seal}"),
            format!("{HEAD}.{forged}.{of_stamp}"),
            format!("{HEAD}.{forged}."),
            format!("{HEAD}.{forged}"),
            HEAD.into(),
            format!("{HEAD}.{}.{seal}", "A".repeat(1 << 20)),
            text.replace(HEAD, "jct-session-2"),
        ] {
            assert_eq!(SessionToken::verify(&bad, &keys(1, &[])), None, "{bad:.60}");
        }
    }
}
