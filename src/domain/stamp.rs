//! The seal on what the admission webhook writes about a request, so that nobody else can write it.
//!
//! While the webhooks stand, they keep the reserved annotations from being forged. The seal covers the rest: objects in the
//! operator's own namespace, which the webhooks leave alone, and objects made while the webhooks were gone.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::id::hex;
use super::{Id, TraceId};

/// The key of the seal: 32 random bytes, kept in the webhook's Secret.
#[derive(Clone)]
pub struct StampKey([u8; 32]);

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

    /// The seal on who submitted the object with this trace id in this namespace, and on the Run that it carries out, in
    /// hex.
    pub fn seal(&self, namespace: &str, submitted_by: &str, trace_id: &TraceId, run: Option<Id>) -> String {
        self.mac(namespace, submitted_by, trace_id, run)
            .map(|mac| hex(&mac.finalize().into_bytes()))
            .unwrap_or_default()
    }

    /// Whether `stamp` is the seal on these, compared in constant time.
    pub fn verify(
        &self,
        namespace: &str,
        submitted_by: &str,
        trace_id: &TraceId,
        run: Option<Id>,
        stamp: &str,
    ) -> bool {
        let Some(bytes) = unhex(stamp) else { return false };
        self.mac(namespace, submitted_by, trace_id, run).is_some_and(|mac| mac.verify_slice(&bytes).is_ok())
    }

    fn mac(&self, namespace: &str, submitted_by: &str, trace_id: &TraceId, run: Option<Id>) -> Option<Hmac<Sha256>> {
        // An HMAC takes a key of any length: there is no None in practice.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        let run = run.map(|run| run.to_string());
        // Without a Run the seal is that of the stamps from before there were any.
        for part in [namespace, submitted_by, trace_id.as_str()].into_iter().chain(run.as_deref()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        Some(mac)
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

    #[test]
    fn a_seal_holds_for_exactly_what_it_was_put_on() {
        let key = StampKey::from_slice(&[7; 32]).unwrap();
        let trace = TraceId::derive("uid");
        let run: Id = "01KJMMA2G027CE4HT1RZKZBW4A".parse().unwrap();
        let seal = key.seal("team", "ada", &trace, None);
        assert!(key.verify("team", "ada", &trace, None, &seal));
        assert!(!key.verify("tea", "mada", &trace, None, &seal));
        assert!(!key.verify("team", "eve", &trace, None, &seal));
        assert!(!key.verify("team", "ada", &TraceId::derive("other"), None, &seal));
        assert!(!key.verify("team", "ada", &trace, Some(run), &seal));
        assert!(!StampKey::from_slice(&[8; 32]).unwrap().verify("team", "ada", &trace, None, &seal));
        for bad in ["", "00", &"zz".repeat(32), &"é".repeat(32)] {
            assert!(!key.verify("team", "ada", &trace, None, bad));
        }
        let for_run = key.seal("team", "ada", &trace, Some(run));
        assert!(key.verify("team", "ada", &trace, Some(run), &for_run));
        assert!(!key.verify("team", "ada", &trace, None, &for_run));
    }

    #[test]
    fn seals_that_are_out_there_hold() {
        let key = StampKey::from_slice(&[7; 32]).unwrap();
        let seal = key.seal("team", "ada", &TraceId::derive("uid"), None);
        assert_eq!(seal, "dec723b454a9c2af298dcae7a245a3b801a9cf025bf5ff01c3a267bc9900987f");
    }
}
