//! The [DSSE envelope](https://github.com/secure-systems-lab/dsse) that a statement is signed in.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

/// `payloadType` of an envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A DSSE envelope: a payload and signatures over it and its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// The payload, in base64.
    #[serde(default)]
    pub payload: String,
    #[serde(default)]
    pub payload_type: String,
    /// One is enough.
    #[serde(default)]
    pub signatures: Vec<Signature>,
}

/// A signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Says which key may have made it. Not signed itself: never a reason to believe anything.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub keyid: String,
    /// The signature, in base64.
    pub sig: String,
}

impl Envelope {
    /// An envelope around an in-toto statement with one signature.
    pub fn new(payload: &[u8], keyid: &str, signature: &[u8]) -> Self {
        Self::of(PAYLOAD_TYPE, payload, keyid, signature)
    }

    /// An envelope around anything, with one signature.
    pub fn of(payload_type: &str, payload: &[u8], keyid: &str, signature: &[u8]) -> Self {
        Self {
            payload: STANDARD.encode(payload),
            payload_type: payload_type.into(),
            signatures: vec![Signature { keyid: keyid.into(), sig: STANDARD.encode(signature) }],
        }
    }

    /// The payload's bytes; none if it is no base64.
    pub fn payload(&self) -> Option<Vec<u8>> {
        unbase64(&self.payload)
    }
}

impl Signature {
    /// The signature's bytes; none if it is no base64.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        unbase64(&self.sig)
    }
}

/// What a signature is made over: DSSE's pre-authentication encoding, version 1.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// DSSE lets signers use either alphabet.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The example of the DSSE protocol, and lengths in bytes instead of characters.
    #[rstest]
    #[case("http://example.com/HelloWorld", "hello world", "DSSEv1 29 http://example.com/HelloWorld 11 hello world")]
    #[case("type", "", "DSSEv1 4 type 0 ")]
    #[case("é", "ö", "DSSEv1 2 é 2 ö")]
    fn what_is_signed_is_encoded_as_dsse_says(#[case] payload_type: &str, #[case] body: &str, #[case] expected: &str) {
        assert_eq!(pre_authentication_encoding(payload_type, body.as_bytes()), expected.as_bytes());
    }

    #[test]
    fn payloads_of_either_alphabet_are_read() {
        let envelope =
            |payload: &str| Envelope { payload: payload.into(), payload_type: PAYLOAD_TYPE.into(), signatures: vec![] };
        assert_eq!(envelope("+/+/Pj8=").payload(), envelope("-_-_Pj8=").payload());
        assert_eq!(envelope("no base64").payload(), None);
    }
}
