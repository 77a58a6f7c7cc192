//! Digests of sealed files, each made once: a file that has not changed since has the one that it had.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::{OnceCell, Semaphore};

use crate::trace::Stamp;

/// How many digests are remembered: some MiB.
const CAPACITY: usize = 16_384;
/// How many files are hashed at once.
const AT_ONCE: usize = 2;
/// A file that changed so lately could change again without its times telling, in seconds: its digest is not remembered.
const FRESH_SECONDS: i64 = 2;

type Cell = Arc<OnceCell<Option<String>>>;

/// The digests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Digests {
    known: Arc<Mutex<HashMap<Stamp, Cell>>>,
    capacity: usize,
    turns: Arc<Semaphore>,
}

impl Default for Digests {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl Digests {
    fn with_capacity(capacity: usize) -> Self {
        Self { known: Arc::default(), capacity, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The SHA-256 of `file`, which has this stamp; none if it changes meanwhile. Who asks for the same at once waits for one
    /// answer, and it is found even if nobody waits any more.
    ///
    /// # Errors
    /// If the volume cannot be read.
    pub async fn of(&self, file: Arc<File>, stamp: Stamp) -> io::Result<Option<String>> {
        let cell = self.cell(stamp);
        if let Some(known) = cell.get() {
            return Ok(known.clone());
        }
        let (turns, this) = (self.turns.clone(), self.clone());
        let made = tokio::spawn(async move {
            let made = cell.get_or_try_init(|| async move {
                let _turn = turns.acquire_owned().await.map_err(io::Error::other)?;
                tokio::task::spawn_blocking(move || stamp.sha256(&file)).await.map_err(io::Error::other)?
            });
            let made = made.await.cloned();
            let is_fresh = stamp.changed_at() + FRESH_SECONDS > Timestamp::now().as_second();
            if is_fresh || !matches!(made, Ok(Some(_))) {
                this.forget(&stamp);
            }
            made
        });
        made.await.map_err(io::Error::other)?
    }

    fn cell(&self, stamp: Stamp) -> Cell {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.capacity && !known.contains_key(&stamp) {
            // Any half of them: none is worth more than another.
            let mut keep = false;
            known.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        known.entry(stamp).or_default().clone()
    }

    fn forget(&self, stamp: &Stamp) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(stamp);
    }

    #[cfg(test)]
    fn remembers(&self, stamp: &Stamp) -> bool {
        self.known.lock().unwrap().get(stamp).is_some_and(|cell| cell.initialized())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_digest_is_remembered_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "abc").unwrap();
        let (digests, open) = (Digests::default(), || Arc::new(File::open(&path).unwrap()));
        let first = Stamp::of(&open()).unwrap();
        assert_eq!(digests.of(open(), first).await.unwrap().unwrap(), crate::domain::id::sha256_hex(b"abc"));
        assert!(!digests.remembers(&first), "it has only just been written");
        tokio::time::sleep(Duration::from_millis(3100)).await;
        digests.of(open(), first).await.unwrap();
        assert!(digests.remembers(&first));
        std::fs::write(&path, "abd").unwrap();
        let second = Stamp::of(&open()).unwrap();
        assert_eq!(digests.of(open(), second).await.unwrap().unwrap(), crate::domain::id::sha256_hex(b"abd"));
        assert_eq!(
            digests.of(open(), first).await.unwrap().unwrap(),
            crate::domain::id::sha256_hex(b"abc"),
            "the control"
        );
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let digests = Digests::with_capacity(8);
        for n in 0..40 {
            let path = folder.path().join(n.to_string());
            std::fs::write(&path, "x").unwrap();
            digests.cell(Stamp::of(&File::open(&path).unwrap()).unwrap());
            let count = digests.known.lock().unwrap().len();
            assert!((1..=8).contains(&count), "{count}");
        }
    }
}
