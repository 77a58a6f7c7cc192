//! One Ed25519 key, private or public, and signatures on DSSE envelopes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use jct_domain::id::sha256_hex;
use jct_domain::provenance::{Envelope, PAYLOAD_TYPE, pre_authentication_encoding};

/// What comes before the 32 bytes of a private key in PKCS#8, version 1 (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// What comes before the 32 bytes of a public key in a SubjectPublicKeyInfo (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why something is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The private key.
    #[error("no Ed25519 private key in PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` makes one")]
    Private,
    /// A public key.
    #[error("no JSON Web Key Set (RFC 7517): {0}")]
    Set(String),
    /// No randomness.
    #[error("cannot get random bytes: {0}")]
    Random(getrandom::Error),
}

/// A public key, and when it was the one to sign with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub(super) bytes: [u8; 32],
    /// When it was made, where known.
    pub created_at: Option<Timestamp>,
    /// When another one took its place; none while it is in use.
    pub retired_at: Option<Timestamp>,
}

/// A key as RFC 8037 writes it, with two members of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    kid: String,
    #[serde(default, rename = "use")]
    usage: String,
    #[serde(default)]
    alg: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retired_at: Option<Timestamp>,
}

impl PublicKey {
    /// The key with these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self { bytes, created_at: None, retired_at: None }
    }

    /// Its name: the SHA-256 of its SubjectPublicKeyInfo in DER, as lower-case hex digits.
    pub fn id(&self) -> String {
        sha256_hex(&[SPKI_PREFIX.as_slice(), &self.bytes].concat())
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.bytes).verify(message, signature).is_ok()
    }

    pub(super) fn to_jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: URL_SAFE_NO_PAD.encode(self.bytes),
            kid: self.id(),
            usage: "sig".into(),
            alg: "EdDSA".into(),
            created_at: self.created_at,
            retired_at: self.retired_at,
        }
    }

    /// None for a key of another kind; a set may have such.
    pub(super) fn from_jwk(jwk: &Jwk) -> Result<Option<Self>, InvalidKey> {
        if (jwk.kty.as_str(), jwk.crv.as_str()) != ("OKP", "Ed25519") {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(jwk.x.trim_end_matches('=')).ok().and_then(|bytes| bytes.try_into().ok());
        let bytes =
            bytes.ok_or_else(|| InvalidKey::Set(format!("x of key {:?} is not 32 bytes in base64url", jwk.kid)))?;
        Ok(Some(Self { bytes, created_at: jwk.created_at, retired_at: jwk.retired_at }))
    }
}

/// A private key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    pem: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// [`InvalidKey::Random`] if there is no randomness.
    pub fn generate() -> Result<Self, InvalidKey> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(InvalidKey::Random)?;
        Self::from_seed(&seed)
    }

    /// The key that RFC 8032 derives from `seed`.
    ///
    /// # Errors
    /// None in practice: every seed makes a key.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, InvalidKey> {
        let text = STANDARD.encode([PKCS8_PREFIX.as_slice(), seed].concat());
        Self::from_pem(&format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))
    }

    /// The key in a PKCS#8 PEM.
    ///
    /// # Errors
    /// [`InvalidKey::Private`] if there is none.
    pub fn from_pem(pem: &str) -> Result<Self, InvalidKey> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| InvalidKey::Private)?;
        // Unchecked is only that a public key is there to check the private one against: openssl writes none.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        Ok(Self { pair: pair.map_err(|_| InvalidKey::Private)?, pem: pem.into() })
    }

    /// The key as PKCS#8 PEM, to be kept secret.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its public half, without times.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey::new(bytes)
    }

    /// The signature of these bytes and no others.
    pub(super) fn raw_signature(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    /// An envelope around an in-toto statement. The same statement makes the same envelope.
    pub fn sign(&self, payload: &[u8]) -> Envelope {
        self.sign_as(PAYLOAD_TYPE, payload)
    }

    /// An envelope around something of another type: the type is signed too, so that it can't pass for a statement.
    pub fn sign_as(&self, payload_type: &str, payload: &[u8]) -> Envelope {
        let message = pre_authentication_encoding(payload_type, payload);
        Envelope::of(payload_type, payload, &self.public().id(), self.pair.sign(&message).as_ref())
    }
}

/// Why an envelope is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    /// Something else was signed.
    #[error("payloadType is {found:?}, not {wanted}")]
    PayloadType {
        /// What it is.
        found: String,
        /// What it is to be.
        wanted: &'static str,
    },
    /// Payload or signature is no base64.
    #[error("payload or signature is not base64")]
    Encoding,
    /// The signature was taken off.
    #[error("it is not signed")]
    Unsigned,
    /// Signed, but not by one of the keys.
    #[error("it is signed by none of the given keys, but by {0}")]
    UnknownKey(String),
    /// Not what was signed.
    #[error("the signature of key {0} does not hold: it was made over something else")]
    Broken(String),
}

/// The payload of `envelope`, and the key of `keys` that signed it. All keys are tried: a keyid proves nothing.
///
/// # Errors
/// [`SignatureProblem`] if none of `keys` signed this payload as an in-toto statement.
pub fn verify(envelope: &Envelope, keys: &[PublicKey]) -> Result<(Vec<u8>, String), SignatureProblem> {
    verify_as(PAYLOAD_TYPE, envelope, keys)
}

/// The same of a payload of another type.
///
/// # Errors
/// [`SignatureProblem`] if none of `keys` signed this payload as what it is to be.
pub fn verify_as(
    payload_type: &'static str,
    envelope: &Envelope,
    keys: &[PublicKey],
) -> Result<(Vec<u8>, String), SignatureProblem> {
    let payload = envelope.payload().ok_or(SignatureProblem::Encoding)?;
    if envelope.signatures.is_empty() {
        return Err(SignatureProblem::Unsigned);
    }
    let message = pre_authentication_encoding(&envelope.payload_type, &payload);
    for signature in &envelope.signatures {
        let bytes = signature.bytes().ok_or(SignatureProblem::Encoding)?;
        if let Some(key) = keys.iter().find(|key| key.verifies(&message, &bytes)) {
            if envelope.payload_type != payload_type {
                let found = envelope.payload_type.chars().take(200).collect();
                return Err(SignatureProblem::PayloadType { found, wanted: payload_type });
            }
            return Ok((payload, key.id()));
        }
    }
    let named = envelope.signatures.iter().find(|signature| keys.iter().any(|key| key.id() == signature.keyid));
    Err(match named {
        Some(signature) => SignatureProblem::Broken(signature.keyid.clone()),
        None => SignatureProblem::UnknownKey(keyids(envelope)),
    })
}

fn keyids(envelope: &Envelope) -> String {
    let shown = |keyid: &str| -> String { keyid.chars().filter(char::is_ascii_graphic).take(64).collect() };
    let ids: Vec<String> = envelope.signatures.iter().take(4).map(|signature| shown(&signature.keyid)).collect();
    match ids.join(", ") {
        ids if ids.is_empty() => "a key that it does not name".into(),
        ids => ids,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_seed(&[byte; 32]).unwrap()
    }

    /// Keys of RFC 8032 section 7.1 and a signature over the encoding of DSSE, made by another implementation.
    #[test]
    fn a_signature_by_others_holds_and_ours_is_the_same() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let seed: Vec<u8> = (0..64).step_by(2).map(|at| u8::from_str_radix(&seed[at..at + 2], 16).unwrap()).collect();
        let key = SigningKey::from_seed(&seed.try_into().unwrap()).unwrap();
        let payload = br#"{"_type":"https://in-toto.io/Statement/v1"}"#;
        let ours = key.sign(payload);
        let theirs = "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA==";
        assert_eq!(ours.signatures[0].sig, theirs);
        let (read, keyid) = verify(&ours, &[key.public()]).unwrap();
        assert_eq!((read.as_slice(), keyid), (payload.as_slice(), key.public().id()));
        assert_eq!(key.public().to_jwk().x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    }

    #[test]
    fn a_keyid_proves_nothing_and_is_not_needed() {
        let mut envelope = key(1).sign(b"{}");
        envelope.signatures[0].keyid = String::new();
        assert_eq!(verify(&envelope, &[key(2).public(), key(1).public()]).unwrap().1, key(1).public().id());
        envelope.signatures[0].keyid = key(2).public().id();
        assert_eq!(verify(&envelope, &[key(1).public()]).unwrap().1, key(1).public().id());
        let broken = SignatureProblem::Broken(key(2).public().id());
        assert_eq!(verify(&envelope, &[key(2).public()]), Err(broken));
    }

    #[test]
    fn what_is_not_signed_by_a_given_key_is_not_believed() {
        let good = key(1).sign(b"{}");
        let keys = [key(1).public()];
        let unknown = SignatureProblem::UnknownKey(key(1).public().id());
        assert_eq!(verify(&good, &[key(2).public()]), Err(unknown.clone()));
        assert_eq!(verify(&good, &[]), Err(unknown));
        let stripped = Envelope { signatures: vec![], ..good.clone() };
        assert_eq!(verify(&stripped, &keys), Err(SignatureProblem::Unsigned));
        let changed = Envelope { payload: STANDARD.encode(b"{ }"), ..good.clone() };
        assert!(matches!(verify(&changed, &keys), Err(SignatureProblem::Broken(_))));
        let other_type = Envelope { payload_type: "text/plain".into(), ..good.clone() };
        assert!(matches!(verify(&other_type, &keys), Err(SignatureProblem::Broken(_))));
        let garbled = Envelope { payload: "?".into(), ..good };
        assert_eq!(verify(&garbled, &keys), Err(SignatureProblem::Encoding));
        let message = pre_authentication_encoding("text/plain", b"{}");
        let mut signed_text = Envelope::new(b"{}", "", key(1).pair.sign(&message).as_ref());
        signed_text.payload_type = "text/plain".into();
        let wrong_type = SignatureProblem::PayloadType { found: "text/plain".into(), wanted: PAYLOAD_TYPE };
        assert_eq!(verify(&signed_text, &keys), Err(wrong_type));
    }

    #[test]
    fn a_key_survives_its_pem_and_its_jwk() {
        let made = SigningKey::generate().unwrap();
        let read = SigningKey::from_pem(made.pem()).unwrap();
        assert_eq!(read.public(), made.public());
        assert_eq!(PublicKey::from_jwk(&made.public().to_jwk()).unwrap(), Some(made.public()));
        assert!(!format!("{made:?}").contains(&made.pem()[30..60]));
    }

    #[test]
    fn a_key_of_openssl_is_read() {
        // Its id is what `openssl pkey -in key.pem -pubout -outform DER | sha256sum` prints.
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n-----END PRIVATE KEY-----\n";
        assert_eq!(SigningKey::from_pem(pem).unwrap().public(), key(1).public());
        assert_eq!(key(1).pem(), pem);
        assert_eq!(key(1).public().id(), "fd110d301d2f077de1414b8f99f441b1403fab207b2052fbd2c065e4ee8e7dc2");
        for bad in ["", "garbage", "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n"] {
            assert_eq!(SigningKey::from_pem(bad).unwrap_err(), InvalidKey::Private);
        }
    }

    #[test]
    fn keys_of_other_kinds_are_passed_over_and_broken_ones_are_named() {
        let jwk = |value| serde_json::from_value::<Jwk>(value).unwrap();
        let rsa = jwk(json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}));
        assert_eq!(PublicKey::from_jwk(&rsa).unwrap(), None);
        let short = jwk(json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAB", "kid": "k"}));
        assert!(PublicKey::from_jwk(&short).unwrap_err().to_string().contains("\"k\""));
    }
}
