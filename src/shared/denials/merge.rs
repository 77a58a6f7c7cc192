//! Denials that are the same, and those that are only counted.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::domain::Denial;
use crate::domain::denial::{LeftOut, Notice, Repeats, request_uid};
use crate::domain::id::hex;

/// How long what is the same is one.
const WINDOW: Duration = Duration::from_secs(3600);
/// How often is written how many were left out.
const LEFT_OUT_EVERY: Duration = Duration::from_secs(600);
/// How many different denials are known for an hour: more than the rations let through.
const CAPACITY: usize = 4096;
/// Of how many namespaces is told how many were left out.
const NAMESPACES: usize = 100;

/// Denials of the last hour.
#[derive(Debug, Default)]
pub(super) struct Merged {
    windows: HashMap<[u8; 32], Window>,
    left_out: Option<(LeftOut, Instant)>,
    /// Windows that had to go before their time.
    early: Vec<Notice>,
}

#[derive(Debug)]
struct Window {
    repeats: Repeats,
    opened: Instant,
}

impl Merged {
    /// Counts `denial` if it is like one of the last hour; whether it is.
    pub(super) fn count_repeat(&mut self, denial: &Denial) -> bool {
        let Some(window) = self.windows.get_mut(&key(denial)) else { return false };
        window.repeats.count += 1;
        window.repeats.last_at = denial.denied_at;
        true
    }

    /// Those like `denial` are counted from now on.
    pub(super) fn begin(&mut self, mut denial: Denial, now: Instant) {
        if self.windows.len() >= CAPACITY {
            let oldest = self.windows.iter().min_by_key(|(_, window)| window.opened).map(|(key, _)| *key);
            let gone = oldest.and_then(|key| self.windows.remove(&key));
            self.early.extend(gone.and_then(notice));
        }
        let key = key(&denial);
        denial.findings = Vec::new();
        let last_at = denial.denied_at;
        self.windows.insert(key, Window { repeats: Repeats { first: denial, count: 1, last_at }, opened: now });
    }

    /// Counts a denial in `namespace` of which nothing else is kept.
    pub(super) fn leave_out(&mut self, namespace: String, at: Timestamp, now: Instant) {
        let (left_out, _) = self.left_out.get_or_insert_with(|| (LeftOut { since: at, ..LeftOut::default() }, now));
        left_out.until = at;
        if left_out.by_namespace.len() < NAMESPACES || left_out.by_namespace.contains_key(&namespace) {
            *left_out.by_namespace.entry(namespace).or_default() += 1;
        } else {
            left_out.elsewhere += 1;
        }
    }

    /// What is to be written of it: what has come to its end, or `all`.
    pub(super) fn due(&mut self, all: bool, now: Instant) -> Vec<Notice> {
        let mut due = std::mem::take(&mut self.early);
        let over = self.windows.extract_if(|_, window| all || now.duration_since(window.opened) >= WINDOW);
        due.extend(over.filter_map(|(_, window)| notice(window)));
        let is_due = |(_, begun): &mut (LeftOut, Instant)| all || now.duration_since(*begun) >= LEFT_OUT_EVERY;
        if let Some((mut left_out, _)) = self.left_out.take_if(is_due) {
            let mut random = [0; 16];
            // Without random bytes two entries of this kind are called the same, and the second is passed over.
            let _ = getrandom::fill(&mut random);
            left_out.uid = request_uid(&hex(&random));
            due.push(Notice::LeftOut(left_out));
        }
        due
    }
}

/// That there were more than one.
fn notice(window: Window) -> Option<Notice> {
    (window.repeats.count > 1).then_some(Notice::Repeated(window.repeats))
}

fn key(denial: &Denial) -> [u8; 32] {
    let Denial { interface, actor, authenticated, namespace, kind, request, spec_sha256, .. } = denial;
    let how = format!("{interface:?} {request:?} {authenticated} {kind}");
    let mut hash = Sha256::new();
    for part in [&how, &actor.id, namespace, spec_sha256] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn counts_are_told_when_their_time_has_come() {
        let mut merged = Merged::default();
        let at = Timestamp::UNIX_EPOCH;
        merged.leave_out("team".into(), at, Instant::now());
        let due = |merged: &mut Merged| merged.due(false, Instant::now()).len();
        assert_eq!(due(&mut merged), 0);
        tokio::time::advance(LEFT_OUT_EVERY).await;
        assert_eq!((due(&mut merged), due(&mut merged)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_namespaces_does_not_grow_it() {
        let mut merged = Merged::default();
        for n in 0..100_000 {
            merged.leave_out(n.to_string(), Timestamp::UNIX_EPOCH, Instant::now());
        }
        let due = merged.due(true, Instant::now());
        let [Notice::LeftOut(left_out)] = due.as_slice() else { panic!("{due:?}") };
        assert_eq!((left_out.by_namespace.len(), left_out.count()), (NAMESPACES, 100_000));
    }
}
