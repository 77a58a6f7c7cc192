//! How many denials are written down: rations that fill up with time.

use std::collections::HashMap;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::domain::Denial;

/// So many at once, and one more each time.
#[derive(Clone, Copy, Debug)]
struct Ration {
    most: u32,
    every: Duration,
}

/// Of one user in one namespace.
const OF_USER: Ration = Ration { most: 20, every: Duration::from_secs(60) };
/// Of one source, whatever names it gives.
const OF_SOURCE: Ration = Ration { most: 100, every: Duration::from_secs(10) };
/// Of all whose user is certain, and of all others: an entry takes some 3 KB, so each comes to 50 MB a day at the most.
const OF_ALL: Ration = Ration { most: 500, every: Duration::from_secs(5) };
const OF_UNCERTAIN: Ration = Ration { most: 200, every: Duration::from_secs(5) };

/// How many rations are kept apart. Those that are full again are forgotten first.
const CAPACITY: usize = 4096;

/// What is left of a ration.
#[derive(Clone, Copy, Debug)]
struct Rest {
    tokens: f64,
    at: Instant,
}

impl Ration {
    /// What is left now of what was left then.
    fn rest(self, known: Option<Rest>, now: Instant) -> f64 {
        let most = f64::from(self.most);
        let gained = |rest: Rest| now.duration_since(rest.at).as_secs_f64() / self.every.as_secs_f64();
        known.map_or(most, |rest| (rest.tokens + gained(rest)).min(most))
    }
}

type Key = [u8; 32];

#[derive(Debug, Default)]
pub(super) struct Rations {
    users: HashMap<Key, Rest>,
    sources: HashMap<Key, Rest>,
    all: Option<Rest>,
    uncertain: Option<Rest>,
}

impl Rations {
    /// Takes one from each ration that `denial`, handed in by `source`, comes from; none and `false` if one is used up.
    pub(super) fn take(&mut self, denial: &Denial, source: &str, now: Instant) -> bool {
        make_room(&mut self.users, OF_USER, now);
        make_room(&mut self.sources, OF_SOURCE, now);
        let user = key(&[&denial.actor.id, &denial.namespace, if denial.authenticated { "1" } else { "0" }]);
        let source = key(&[source]);
        let (of_all, all) =
            if denial.authenticated { (OF_ALL, &mut self.all) } else { (OF_UNCERTAIN, &mut self.uncertain) };
        let rests = [
            OF_USER.rest(self.users.get(&user).copied(), now),
            OF_SOURCE.rest(self.sources.get(&source).copied(), now),
            of_all.rest(*all, now),
        ];
        let has_room = self.users.len() < CAPACITY && self.sources.len() < CAPACITY;
        if !has_room || rests.iter().any(|tokens| *tokens < 1.0) {
            return false;
        }
        let [of_user, of_source, of_all] = rests.map(|tokens| Rest { tokens: tokens - 1.0, at: now });
        self.users.insert(user, of_user);
        self.sources.insert(source, of_source);
        *all = Some(of_all);
        true
    }
}

fn make_room(rests: &mut HashMap<Key, Rest>, ration: Ration, now: Instant) {
    if rests.len() >= CAPACITY {
        rests.retain(|_, rest| ration.rest(Some(*rest), now) < f64::from(ration.most));
    }
}

fn key(parts: &[&str]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}
