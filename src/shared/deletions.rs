//! Who asked for the deletion of which object: noted by the admission webhook of any replica, and told to the one that records
//! the deletion, from memory or by way of the database.
//!
//! Best effort by design: no deletion is refused for it, and none waits longer than a moment. What no webhook was asked about,
//! nobody knows; nor where several were noted, of which one may be made up. What a caller says for whom nobody vouches
//! is kept apart, so that it takes no place of what is certain.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::crd::Trust;
use crate::crd::stamps::{Issuer, Seal};
use crate::domain::{Actor, DeletionNote};
use crate::store::Store;

/// How many objects are remembered, of those with and of those without somebody who vouches: the last ones.
const OBJECTS: usize = 10_000;
/// How many users of one object.
const USERS: usize = 4;
/// How many notes may wait for the database.
const QUEUE: usize = 1024;
/// How many are written at once.
const BATCH: usize = 128;
/// How long a deletion waits until its note is there for other replicas.
const MOMENT: Duration = Duration::from_millis(200);
/// The first and the longest wait after the database did not take notes.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Where it is noted. Cheap to clone; all clones share what is noted.
#[derive(Clone, Debug)]
pub struct Deletions(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// How many notes were written, or given up.
    done: watch::Sender<u64>,
    /// Whether the database does not take them at the moment.
    stuck: AtomicBool,
    /// Whether this process records deletions itself.
    leads: AtomicBool,
}

#[derive(Debug)]
struct State {
    certain: Noted,
    claimed: Noted,
    queue: Option<mpsc::Sender<DeletionNote>>,
    /// How many were handed to the queue.
    queued: u64,
}

#[derive(Debug, Default)]
struct Noted {
    by_uid: HashMap<String, Vec<DeletionNote>>,
    order: VecDeque<String>,
}

/// The other end: notes that wait to be written.
#[derive(Debug)]
pub struct WaitingNotes {
    queue: mpsc::Receiver<DeletionNote>,
    shared: Arc<Shared>,
}

/// Who deleted an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleter {
    /// Whom the audit log names: `unknown`, unless it is certain.
    pub actor: Actor,
    /// All who asked for it, where they were several.
    pub note: Option<String>,
}

impl Default for Deletions {
    /// One that tells nothing to other replicas.
    fn default() -> Self {
        Self::queueing(None)
    }
}

impl Deletions {
    /// One with the end by which notes get into the database.
    pub fn new() -> (Self, WaitingNotes) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let deletions = Self::queueing(Some(sender));
        let shared = deletions.0.clone();
        (deletions, WaitingNotes { queue, shared })
    }

    fn queueing(queue: Option<mpsc::Sender<DeletionNote>>) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State { certain: Noted::default(), claimed: Noted::default(), queue, queued: 0 }),
            done: watch::Sender::new(0),
            stuck: AtomicBool::new(false),
            leads: AtomicBool::new(false),
        }))
    }

    /// Notes that somebody asked for a deletion.
    pub fn note(&self, note: DeletionNote) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = if note.vouched_for { &mut state.certain } else { &mut state.claimed };
        let is_queued = noted.add(&note) && state.queue.as_ref().is_some_and(|queue| queue.try_send(note).is_ok());
        state.queued += u64::from(is_queued);
    }

    /// Returns once what was noted is there for other replicas, or after a moment. At once where no other one will ask: in the
    /// process that records deletions itself.
    pub async fn wait_until_shared(&self) {
        let queued = self.0.state.lock().unwrap_or_else(PoisonError::into_inner).queued;
        if self.0.leads.load(Ordering::Relaxed) || self.0.stuck.load(Ordering::Relaxed) {
            return;
        }
        let mut done = self.0.done.subscribe();
        let _ = timeout(MOMENT, done.wait_for(|done| *done >= queued)).await;
    }

    /// Says whether this process records deletions itself.
    pub fn lead(&self, leads: bool) {
        self.0.leads.store(leads, Ordering::Relaxed);
    }

    /// What this process knows of the object with this uid.
    pub fn of(&self, uid: &str) -> Vec<DeletionNote> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = [&state.certain, &state.claimed].into_iter();
        noted.filter_map(|noted| noted.by_uid.get(uid)).flatten().cloned().collect()
    }
}

impl Noted {
    /// Whether it is news.
    fn add(&mut self, note: &DeletionNote) -> bool {
        if !self.by_uid.contains_key(&note.uid) {
            self.by_uid.insert(note.uid.clone(), Vec::new());
            self.order.push_back(note.uid.clone());
            if self.order.len() > OBJECTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_uid.remove(&oldest);
            }
        }
        let Some(notes) = self.by_uid.get_mut(&note.uid) else { return false };
        let is_news = notes.len() < USERS && notes.iter().all(|known| known.user != note.user);
        if is_news {
            notes.push(note.clone());
        }
        is_news
    }
}

impl WaitingNotes {
    /// Writes what is noted, until `stop`; then what still waits, if the database takes it.
    pub async fn record(mut self, store: Store, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let taken = tokio::select! {
                biased;
                taken = self.queue.recv_many(&mut batch, BATCH) => taken,
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
            };
            if taken == 0 {
                return;
            }
            self.write(&store, &batch, &stop).await;
            batch.clear();
            self.shared.done.send_modify(|done| *done += taken as u64);
        }
    }

    /// Writes `batch`, again and again while the database is away.
    async fn write(&self, store: &Store, batch: &[DeletionNote], stop: &CancellationToken) {
        let (mut pause, longest) = RETRY;
        loop {
            match store.note_deletions(batch.to_vec()).await {
                Ok(()) => return self.shared.stuck.store(false, Ordering::Relaxed),
                Err(error) if error.is_transient() && !stop.is_cancelled() => {
                    self.shared.stuck.store(true, Ordering::Relaxed);
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = stop.cancelled() => {}
                    }
                    pause = (pause * 2).min(longest);
                }
                Err(error) => {
                    let lost = batch.len();
                    return warn!(%error, lost, "who asked for deletions is not kept for other replicas");
                }
            }
        }
    }
}

impl Deleter {
    /// Who deleted the object that these notes are on, as far as they are believed.
    pub fn of(notes: &[DeletionNote], trust: &Trust) -> Self {
        let believed = |note: &&DeletionNote| {
            let issuer = if note.vouched_for { Issuer::ApiServer } else { Issuer::Anybody };
            note.holds(&trust.keys) && trust.believes(&Seal { issuer, at: note.at }, &note.namespace)
        };
        let mut notes: Vec<&DeletionNote> = notes.iter().filter(believed).collect();
        notes.sort_by_key(|note| (!note.vouched_for, note.at));
        // What a stranger says is nothing beside what is certain.
        if notes.first().is_some_and(|note| note.vouched_for) {
            notes.retain(|note| note.vouched_for);
        }
        let mut users: Vec<&str> = Vec::new();
        for note in notes {
            if !users.contains(&note.user.as_str()) {
                users.push(&note.user);
            }
        }
        match users.as_slice() {
            [] => Self { actor: Actor::unknown(), note: None },
            [user] => Self { actor: Actor::authenticated(user), note: None },
            users => Self { actor: Actor::unknown(), note: Some(format!("asked for by {}", users.join(", "))) },
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::{ActorKind, StampKey, StampKeys};
    use crate::store::StoreSettings;

    fn keys(byte: u8) -> StampKeys {
        StampKeys::new(StampKey::from_slice(&[byte; 32]).unwrap(), Vec::new(), None)
    }

    fn trust() -> Trust {
        Trust::in_keys(keys(7), "jct-system")
    }

    fn note(uid: &str, user: &str, vouched_for: bool) -> DeletionNote {
        DeletionNote::new(uid, "team", user, vouched_for, Timestamp::now(), &keys(7)).unwrap()
    }

    fn deleter(notes: &[DeletionNote]) -> (String, Option<String>) {
        let Deleter { actor, note: said } = Deleter::of(notes, &trust());
        (actor.id, said)
    }

    #[test]
    fn who_deleted_is_who_asked_and_nobody_else() {
        let mallory = note("u", "mallory", false);
        let Deleter { actor, note: said } = Deleter::of(&[mallory.clone(), mallory.clone()], &trust());
        assert_eq!((actor, said), (Actor { kind: ActorKind::Human, id: "mallory".into() }, None));
        assert_eq!(deleter(&[]), ("unknown".into(), None));
        // One of them is made up: who can tell which? So all are named.
        let asked_by_two = deleter(&[mallory, note("u", "alice", false)]);
        assert_eq!(asked_by_two, ("unknown".into(), Some("asked for by mallory, alice".into())));
    }

    #[test]
    fn what_a_stranger_says_takes_no_place_of_what_is_certain() {
        let deletions = Deletions::default();
        for n in 0..10 {
            deletions.note(note("u", &format!("forged-{n}"), false));
        }
        deletions.note(note("u", "ada", true));
        for n in 0..OBJECTS + 5 {
            deletions.note(note(&format!("u{n}"), "forged", false));
        }
        assert_eq!(deleter(&deletions.of("u")), ("ada".into(), None));
        // The control: without the certain one, the others count.
        assert!(deleter(&[note("u", "a", false), note("u", "b", false)]).1.is_some());
    }

    #[test]
    fn what_no_api_server_can_have_asked_is_not_believed() {
        let own = DeletionNote::new("u", "jct-system", "alice", true, Timestamp::UNIX_EPOCH, &keys(7)).unwrap();
        assert_eq!(deleter(&[own]).0, "unknown");
        let gone = Trust { covered_since: None, ..trust() };
        assert_eq!(Deleter::of(&[note("u", "alice", false)], &gone).actor, Actor::unknown());
        assert_eq!(Deleter::of(&[note("u", "alice", true)], &gone).actor.id, "alice");
        // Whoever writes the database has no key.
        assert_eq!(deleter(&[DeletionNote { user: "eve".into(), ..note("u", "alice", true) }]).0, "unknown");
    }

    #[test]
    fn notes_are_bounded() {
        let deletions = Deletions::default();
        for n in 0..OBJECTS + 5 {
            deletions.note(note(&format!("u{n}"), "ada", false));
        }
        for n in 0..10 {
            deletions.note(note("u5", &format!("user-{n}"), false));
        }
        let state = deletions.0.state.lock().unwrap();
        assert_eq!((state.claimed.by_uid.len(), state.claimed.order.len()), (OBJECTS, OBJECTS));
        assert!(!state.claimed.by_uid.contains_key("u0"));
        assert_eq!(state.claimed.by_uid["u5"].len(), USERS);
    }

    async fn store(folder: &tempfile::TempDir) -> Store {
        let url = format!("sqlite://{}", folder.path().join("jct.db").display()).parse().unwrap();
        let settings = StoreSettings { wait: Duration::from_millis(100), ..StoreSettings::new(url) };
        Store::open(&settings).await.unwrap()
    }

    #[tokio::test]
    async fn what_one_replica_is_told_another_one_knows() {
        let folder = tempfile::tempdir().unwrap();
        let (store, stop) = (store(&folder).await, CancellationToken::new());
        let (deletions, waiting) = Deletions::new();
        let recording = tokio::spawn(waiting.record(store.clone(), stop.clone()));
        let ada = note("u", "ada", true);
        deletions.note(ada.clone());
        deletions.wait_until_shared().await;
        assert_eq!(store.deletion_notes("u").await.unwrap(), [ada]);
        deletions.note(note("v", "ada", true));
        stop.cancel();
        recording.await.unwrap();
        assert_eq!(store.deletion_notes("v").await.unwrap().len(), 1, "what waits at shutdown is written");
    }

    #[tokio::test(start_paused = true)]
    async fn no_deletion_waits_longer_than_a_moment() {
        let (deletions, _waiting) = Deletions::new();
        let waited = async |deletions: &Deletions| {
            let began = tokio::time::Instant::now();
            deletions.wait_until_shared().await;
            began.elapsed()
        };
        assert_eq!(waited(&deletions).await, Duration::ZERO, "nothing is to be told");
        deletions.note(note("u", "ada", true));
        assert_eq!(waited(&deletions).await.as_millis(), MOMENT.as_millis());
        deletions.lead(true);
        assert_eq!(waited(&deletions).await, Duration::ZERO);
    }
}
