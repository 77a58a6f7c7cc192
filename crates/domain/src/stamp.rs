//! The seal on what the admission webhook, or the operator itself, writes about a request, so that nobody else can write it.
//!
//! Here are the keys alone; what a seal is put on, and when one is believed, is with the annotations
//! (`crate::crd::stamps`).

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use super::id::hex;
use super::{Id, TraceId};

/// How many replaced keys go on verifying.
pub const MAX_PREVIOUS_KEYS: usize = 2;
/// How long a key is.
pub const KEY_BYTES: usize = 32;

/// The key of the seal: 32 random bytes, kept in the webhook's Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct StampKey([u8; KEY_BYTES]);

impl std::fmt::Debug for StampKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StampKey(…)")
    }
}

impl StampKey {
    /// A key of `bytes`; `None` unless there are 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The key's bytes, to be kept secret.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The seal that the version before put on a namespace, a user, a trace id and a Run, in hex.
    pub fn seal_v1(&self, namespace: &str, submitted_by: &str, trace_id: &TraceId, run: Option<Id>) -> String {
        let run = run.map(|run| run.to_string());
        let parts = [namespace, submitted_by, trace_id.as_str()];
        self.mac(parts.into_iter().chain(run.as_deref()))
            .map(|mac| hex(&mac.finalize().into_bytes()))
            .unwrap_or_default()
    }

    fn mac<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Option<Hmac<Sha256>> {
        // An HMAC takes a key of any length: there is no None in practice.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        Some(mac)
    }

    fn verify<'a>(&self, parts: impl IntoIterator<Item = &'a str>, seal: &[u8]) -> bool {
        self.mac(parts).is_some_and(|mac| mac.verify_slice(seal).is_ok())
    }
}

/// The key that seals, and others whose seals hold: those before it, and one that is about to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StampKeys {
    sealing: StampKey,
    others: Vec<StampKey>,
    since: Option<Timestamp>,
}

impl StampKeys {
    /// Seals with `sealing`; seals of `others` hold too. `since` is when this installation began to seal whole objects:
    /// younger objects with a seal from before are not believed.
    pub fn new(sealing: StampKey, others: Vec<StampKey>, since: Option<Timestamp>) -> Self {
        Self { sealing, others, since }
    }

    pub fn sealing(&self) -> &StampKey {
        &self.sealing
    }

    /// The other keys whose seals hold.
    pub fn others(&self) -> &[StampKey] {
        &self.others
    }

    /// When the installation began to seal whole objects.
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// The seal on these parts, in this order, in hex. The first part is what tells uses of the key apart.
    pub fn seal(&self, parts: &[&str]) -> String {
        self.sealing.mac(parts.iter().copied()).map(|mac| hex(&mac.finalize().into_bytes())).unwrap_or_default()
    }

    /// Whether `seal` is on these parts, compared in constant time.
    pub fn verify(&self, parts: &[&str], seal: &str) -> bool {
        self.verify_parts(parts.iter().copied(), seal)
    }

    /// Whether `seal` is what [`StampKey::seal_v1`] made.
    pub fn verify_v1(
        &self,
        namespace: &str,
        submitted_by: &str,
        trace_id: &TraceId,
        run: Option<Id>,
        seal: &str,
    ) -> bool {
        let run = run.map(|run| run.to_string());
        let parts = [namespace, submitted_by, trace_id.as_str()].into_iter().chain(run.as_deref());
        self.verify_parts(parts, seal)
    }

    fn verify_parts<'a>(&self, parts: impl IntoIterator<Item = &'a str> + Clone, seal: &str) -> bool {
        let Some(bytes) = unhex(seal) else { return false };
        std::iter::once(&self.sealing).chain(&self.others).any(|key| key.verify(parts.clone(), &bytes))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> StampKey {
        StampKey::from_slice(&[byte; 32]).unwrap()
    }

    #[test]
    fn a_seal_holds_for_exactly_what_it_was_put_on() {
        let keys = StampKeys::new(key(7), Vec::new(), None);
        let seal = keys.seal(&["submitted", "team", "ada"]);
        assert!(keys.verify(&["submitted", "team", "ada"], &seal));
        for other in [["submitted", "tea", "mada"], ["submitted", "team", "eve"], ["changed", "team", "ada"]] {
            assert!(!keys.verify(&other, &seal));
        }
        assert!(!keys.verify(&["submitted", "team", "ada", ""], &seal));
        for bad in ["", "00", &"zz".repeat(32), &"é".repeat(32), &seal.to_uppercase()[..63]] {
            assert!(!keys.verify(&["submitted", "team", "ada"], bad));
        }
    }

    #[test]
    fn seals_of_a_replaced_key_hold_as_long_as_it_is_kept() {
        let seal = StampKeys::new(key(7), Vec::new(), None).seal(&["x"]);
        assert!(StampKeys::new(key(8), vec![key(7)], None).verify(&["x"], &seal));
        assert!(!StampKeys::new(key(8), vec![key(9)], None).verify(&["x"], &seal));
    }

    #[test]
    fn seals_of_the_version_before_that_are_out_there_hold() {
        let (keys, trace) = (StampKeys::new(key(7), Vec::new(), None), TraceId::derive("uid"));
        let seal = "dec723b454a9c2af298dcae7a245a3b801a9cf025bf5ff01c3a267bc9900987f";
        assert_eq!(key(7).seal_v1("team", "ada", &trace, None), seal);
        let run: Id = "01KJMMA2G027CE4HT1RZKZBW4A".parse().unwrap();
        assert!(keys.verify_v1("team", "ada", &trace, None, seal));
        assert!(!keys.verify_v1("team", "eve", &trace, None, seal));
        assert!(!keys.verify_v1("team", "ada", &trace, Some(run), seal));
        let for_run = key(7).seal_v1("team", "ada", &trace, Some(run));
        assert!(keys.verify_v1("team", "ada", &trace, Some(run), &for_run));
        assert!(!keys.verify_v1("team", "ada", &trace, None, &for_run));
    }
}
