//! Waiting for the record to tell of a Task: woken by the commit that does, where this process writes it.

use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout};

use crate::store::CommittedTasks;

/// Between two looks into a record that another replica writes, at first and at the most.
const POLLS: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(100));

/// Between two looks where commits are heard of: a replica may have stopped leading meanwhile.
const RARELY: Duration = Duration::from_secs(1);

/// What `look` finds, or nothing if that is nothing until `until`. It is asked again whenever `committed` are of it; from time to time
/// besides, and often where `leads` says that another replica writes. It is told whether to look for what is rare, too.
///
/// # Errors
/// Those of `look`.
pub async fn wait<T, E, F: Future<Output = Result<Option<T>, E>>>(
    mut committed: Receiver<CommittedTasks>,
    is_of_it: impl Fn(&CommittedTasks) -> bool,
    leads: impl Fn() -> bool,
    until: Instant,
    mut look: impl FnMut(bool) -> F,
) -> Result<Option<T>, E> {
    let mut poll = POLLS.0;
    let mut thorough = false;
    loop {
        if let Some(found) = look(thorough).await? {
            return Ok(Some(found));
        }
        let pause = if leads() { RARELY } else { poll };
        let now = Instant::now();
        if now >= until {
            return Ok(None);
        }
        let heard = timeout(pause.min(until - now), next_relevant(&mut committed, &is_of_it)).await.is_ok();
        thorough = heard || pause >= POLLS.1;
        poll = (poll * 3 / 2).min(POLLS.1);
    }
}

/// Returns at news of it, or where some may have been missed.
async fn next_relevant(committed: &mut Receiver<CommittedTasks>, is_of_it: &impl Fn(&CommittedTasks) -> bool) {
    loop {
        match committed.recv().await {
            Ok(committed) if !is_of_it(&committed) => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            // The store is closed: nothing more is heard.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use tokio::sync::broadcast;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// How many looks there are until `found` says that there is something, or a minute is over.
    async fn looks(
        committed: Receiver<CommittedTasks>,
        is_of_it: bool,
        leads: bool,
        found: impl Fn(u32) -> bool,
    ) -> (bool, u32) {
        let looks = Cell::new(0);
        let look = |_| {
            looks.set(looks.get() + 1);
            std::future::ready(Ok::<_, Infallible>(found(looks.get()).then_some(())))
        };
        let Ok(found) = wait(committed, |_| is_of_it, || leads, Instant::now() + LONG, look).await;
        (found.is_some(), looks.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_wakes_who_waits_for_it_and_nobody_else() {
        for (is_of_it, expected) in [(true, 2), (false, 61)] {
            let sender = broadcast::Sender::new(4);
            let committed = sender.subscribe();
            sender.send(CommittedTasks::default()).unwrap();
            let second = |look| is_of_it && look == 2;
            let (found, looks) = looks(committed, is_of_it, true, second).await;
            assert_eq!(found, is_of_it);
            // Not woken, it looks once a second.
            assert!(looks.abs_diff(expected) <= 1, "{looks}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_replica_writes_is_looked_for_often() {
        let sender = broadcast::Sender::new(4);
        let (found, looks) = looks(sender.subscribe(), true, false, |_| false).await;
        assert!(!found && looks > 600, "{looks}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_too_slow_to_hear_of_it_looks() {
        let sender = broadcast::Sender::new(1);
        let committed = sender.subscribe();
        (0..5).for_each(|_| drop(sender.send(CommittedTasks::default())));
        // Of five the last one is kept, and is not of it.
        let began = Instant::now();
        let (found, _) = looks(committed, false, true, |look| look == 2).await;
        assert!(found && began.elapsed() < RARELY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_closed_leaves_looking_from_time_to_time() {
        let sender = broadcast::Sender::new(1);
        let committed = sender.subscribe();
        drop(sender);
        let (found, looks) = looks(committed, true, true, |look| look == 3).await;
        assert!(found && looks == 3);
    }
}
