//! The stamp keys as the webhook's Secret holds them, and which of them seals. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;

use crate::domain::stamp::{KEY_BYTES, MAX_PREVIOUS_KEYS};
use crate::domain::{StampKey, StampKeys};

const KEY: &str = "stamp.key";
const PREVIOUS: &str = "stamp.previous";
const SINCE: &str = "stamp.since";

/// How long a key is known before it seals: every replica has looked by then, and believes it.
pub(super) const SETTLE: Duration = Duration::from_secs(15);

/// How long after an update from a version that sealed no objects its replicas may still be there.
const ROLLOUT: SignedDuration = SignedDuration::from_secs(120);

/// What the Secret holds of stamp keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    key: Option<StampKey>,
    previous: Vec<StampKey>,
    since: Option<Timestamp>,
}

impl Kept {
    pub(super) fn read(data: &BTreeMap<String, ByteString>) -> Self {
        let bytes = |name: &str| data.get(name).map(|bytes| bytes.0.as_slice()).unwrap_or_default();
        Self {
            key: StampKey::from_slice(bytes(KEY)),
            previous: bytes(PREVIOUS)
                .chunks(KEY_BYTES)
                .filter_map(StampKey::from_slice)
                .take(MAX_PREVIOUS_KEYS)
                .collect(),
            since: std::str::from_utf8(bytes(SINCE)).ok().and_then(|text| text.parse().ok()),
        }
    }

    /// What the Secret should hold: `new` where it has no key, and `known`, which this process sealed with, if another one has
    /// taken its place.
    pub(super) fn maintained(&self, new: StampKey, known: Option<&StampKey>, now: Timestamp) -> Self {
        let had_one = self.key.is_some();
        let key = self.key.clone().unwrap_or(new);
        let mut previous = self.previous.clone();
        if let Some(known) = known.filter(|known| **known != key && !previous.contains(known)) {
            previous.insert(0, known.clone());
        }
        previous.retain(|one| *one != key);
        previous.truncate(MAX_PREVIOUS_KEYS);
        let since = self.since.unwrap_or(if had_one { now + ROLLOUT } else { now });
        Self { key: Some(key), previous, since: Some(since) }
    }

    pub(super) fn write(&self, data: &mut BTreeMap<String, ByteString>) {
        let Self { key, previous, since } = self;
        let mut put = |name: &str, bytes: Vec<u8>| data.insert(name.into(), ByteString(bytes));
        if let Some(key) = key {
            put(KEY, key.as_bytes().to_vec());
        }
        if let Some(since) = since {
            put(SINCE, since.to_string().into_bytes());
        }
        put(PREVIOUS, previous.iter().flat_map(StampKey::as_bytes).copied().collect());
    }
}

/// Which key this process seals with, while another one may be about to take its place.
#[derive(Debug, Default)]
pub(super) struct KeyRotation {
    sealing: Option<StampKey>,
    coming: Option<(StampKey, Instant)>,
}

impl KeyRotation {
    /// The key that this process seals with.
    pub(super) fn sealing(&self) -> Option<&StampKey> {
        self.sealing.as_ref()
    }

    /// The keys to use from now on, as the Secret holds them. None if it holds none.
    pub(super) fn keys(&mut self, kept: &Kept, now: Instant) -> Option<StampKeys> {
        let key = kept.key.as_ref()?;
        match (&self.sealing, &self.coming) {
            // Nobody has seen anything of this process yet.
            (None, _) => self.sealing = Some(key.clone()),
            (Some(sealing), _) if sealing == key => self.coming = None,
            (Some(_), Some((coming, since))) if coming == key => {
                if now.duration_since(*since) >= SETTLE {
                    self.sealing = self.coming.take().map(|(key, _)| key);
                }
            }
            (Some(_), _) => self.coming = Some((key.clone(), now)),
        }
        let sealing = self.sealing.clone()?;
        let others = std::iter::once(key).chain(&kept.previous).filter(|one| **one != sealing).cloned().collect();
        Some(StampKeys::new(sealing, others, kept.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> StampKey {
        StampKey::from_slice(&[byte; 32]).unwrap()
    }

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    /// A Secret that several replicas read and write.
    struct Secret(BTreeMap<String, ByteString>);

    /// One replica: the pure part of its keeper.
    #[derive(Default)]
    struct Replica(KeyRotation);

    impl Replica {
        fn looks(&mut self, secret: &mut Secret, at: Instant) -> StampKeys {
            let kept = Kept::read(&secret.0).maintained(key(1), self.0.sealing(), now());
            kept.write(&mut secret.0);
            self.0.keys(&Kept::read(&secret.0), at).unwrap()
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut data = BTreeMap::from([("tls.crt".to_owned(), ByteString(b"x".to_vec()))]);
        let kept = Kept::default().maintained(key(1), None, now());
        kept.write(&mut data);
        assert_eq!(Kept::read(&data), kept);
        assert_eq!(kept.maintained(key(2), Some(&key(1)), now()), kept, "nothing is to be done");
        let rotated = Kept { key: Some(key(2)), ..kept.clone() }.maintained(key(9), Some(&key(1)), now());
        assert_eq!(rotated.previous, [key(1)]);
        let thrice = [3, 4].iter().fold(rotated, |kept, byte| {
            let known = kept.key.clone();
            Kept { key: Some(key(*byte)), ..kept }.maintained(key(9), known.as_ref(), now())
        });
        assert_eq!(thrice.previous, [key(3), key(2)], "the oldest is forgotten");
    }

    #[test]
    fn seals_of_the_version_before_end_with_its_replicas() {
        let with_key = Kept { key: Some(key(1)), ..Kept::default() };
        assert_eq!(with_key.maintained(key(2), None, now()).since, Some(now() + ROLLOUT));
        assert_eq!(Kept::default().maintained(key(2), None, now()).since, Some(now()), "there were none");
    }

    #[test]
    fn two_replicas_believe_each_other_all_the_time_while_a_key_is_replaced() {
        let mut secret = Secret(BTreeMap::new());
        let (mut a, mut b) = (Replica::default(), Replica::default());
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (of_a, of_b) = (a.looks(&mut secret, at(0)), b.looks(&mut secret, at(1)));
        let believes = |one: &StampKeys, other: &StampKeys| one.verify(&["x"], &other.seal(&["x"]));
        assert!(believes(&of_a, &of_b) && believes(&of_b, &of_a));
        let old = of_a.seal(&["x"]);
        secret.0.insert(KEY.into(), ByteString(vec![2; 32]));
        let (mut of_a, mut of_b) = (of_a, of_b);
        for second in (5..60).step_by(5) {
            // One of them looks, and for a moment knows more than the other.
            of_a = a.looks(&mut secret, at(second));
            assert!(believes(&of_a, &of_b) && believes(&of_b, &of_a), "{second}");
            of_b = b.looks(&mut secret, at(second + 4));
            assert!(believes(&of_a, &of_b) && believes(&of_b, &of_a), "{second}");
        }
        assert_eq!((of_a.sealing(), of_b.sealing()), (&key(2), &key(2)), "both seal with the new one");
        assert!(of_a.verify(&["x"], &old), "what is out there is still believed");
        let mut restarted = Replica::default();
        assert!(restarted.looks(&mut secret, at(70)).verify(&["x"], &old), "after a restart too");
    }

    #[test]
    fn a_previous_key_that_is_taken_out_is_believed_no_longer() {
        let mut secret = Secret(BTreeMap::new());
        let mut replica = Replica::default();
        let start = Instant::now();
        let old = replica.looks(&mut secret, start).seal(&["x"]);
        secret.0.insert(KEY.into(), ByteString(vec![2; 32]));
        replica.looks(&mut secret, start);
        assert!(replica.looks(&mut secret, start + SETTLE).verify(&["x"], &old));
        secret.0.insert(PREVIOUS.into(), ByteString(Vec::new()));
        assert!(!replica.looks(&mut secret, start + SETTLE * 2).verify(&["x"], &old));
    }
}
