//! The Tasks that are there, as far as the watch tells: of each a few words, and of some what passes look at.
//!
//! There may be a hundred thousand of them, most of which have ended and are looked at no more. So what a pass looks at is kept
//! for a bounded number; who is passed over later is read again. Who is first in line keeps it: the last of many will be read.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::ResourceExt as _;

use super::turns::{Lane, Rank, TaskKey};
use crate::crd::TaskView;

/// Of how many Tasks is kept what a pass looks at: some five KiB each.
pub const VIEWS: usize = 256;

/// What is known of one Task.
#[derive(Debug)]
struct TaskEntry {
    uid: Box<str>,
    /// The resource version that was seen last.
    version: u64,
    /// Of all that calls for a pass when it changes.
    significance: u64,
    /// The list that it was last seen in.
    list: u32,
    lane: Lane,
    is_lost: bool,
    /// How long its spec is.
    spec_bytes: usize,
    idempotency_key: Option<Box<str>>,
    view: Option<Arc<TaskView>>,
    /// Whether a pass will begin with it that has not begun.
    is_due: bool,
}

/// What a pass begins with.
#[derive(Clone, Debug)]
pub struct CachedTask {
    /// The object, if it is at hand.
    pub view: Option<Arc<TaskView>>,
    /// How long its spec is, in bytes.
    pub spec_bytes: usize,
    /// The uid of the object.
    pub uid: String,
    /// The resource version of the object.
    pub version: u64,
}

/// The Tasks that are there.
#[derive(Debug, Default)]
pub struct Tasks(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    by_key: HashMap<TaskKey, TaskEntry>,
    list: u32,
    /// Whose views are kept, and in which version; the oldest first.
    views: VecDeque<(TaskKey, u64)>,
}

impl Table {
    /// Makes room for one view more: the oldest one goes that no pass will begin with soon. Says whether there is room.
    fn make_room(&mut self) -> bool {
        if self.views.len() < VIEWS {
            return true;
        }
        let is_needed = |(key, version): &(TaskKey, u64)| {
            self.by_key.get(key).is_some_and(|entry| entry.version == *version && entry.view.is_some() && entry.is_due)
        };
        let Some(at) = self.views.iter().position(|view| !is_needed(view)) else { return false };
        if let Some((key, version)) = self.views.remove(at)
            && let Some(entry) = self.by_key.get_mut(&key).filter(|entry| entry.version == version)
        {
            entry.view = None;
        }
        true
    }
}

/// What its objects say of the Tasks that are there: those that a pass may have been over.
#[derive(Debug, Default)]
pub struct Present {
    pub uids: HashSet<String>,
    /// Their idempotency keys, by namespace.
    pub keys: HashSet<(String, String)>,
}

impl Tasks {
    /// A list begins: what is not in it is gone.
    pub fn begin(&self) {
        let mut table = self.table();
        table.list = table.list.wrapping_add(1);
    }

    /// The list is complete.
    pub fn complete(&self) {
        let mut table = self.table();
        let list = table.list;
        table.by_key.retain(|_, entry| entry.list == list);
    }

    /// Takes up an object as it is now. Returns what it waits among if that calls for a pass.
    ///
    /// A status that changes is no news, for the controller writes them; changes of the spec, deletions, cancellations and
    /// finalizers are.
    pub fn apply(&self, view: TaskView) -> Option<(TaskKey, Lane)> {
        let key = key_of(&view)?;
        let significance = significance(&view);
        let mut table = self.table();
        let before = table.by_key.get(&key).filter(|entry| Some(&*entry.uid) == view.metadata.uid.as_deref());
        let is_changed = before.is_none_or(|entry| entry.significance != significance);
        let version = version(&view);
        let rank = match before.map(|entry| entry.lane) {
            Some(Lane::Start(rank)) => rank,
            _ => Rank { created: created(&view), seen: version },
        };
        let lane = if has_to_start(&view) { Lane::Start(rank) } else { Lane::Soon };
        let is_due = is_changed || before.is_some_and(|entry| entry.is_due);
        let has_room = table.make_room();
        let entry = TaskEntry {
            uid: view.metadata.uid.as_deref().unwrap_or_default().into(),
            version,
            significance,
            list: table.list,
            lane,
            is_lost: view.is_lost(),
            spec_bytes: view.spec.bytes,
            idempotency_key: view.spec.idempotency_key.as_deref().map(Into::into),
            view: has_room.then(|| Arc::new(view)),
            is_due,
        };
        table.by_key.insert(key.clone(), entry);
        if has_room {
            table.views.push_back((key.clone(), version));
        }
        is_changed.then_some((key, lane))
    }

    /// The object is gone.
    pub fn remove(&self, view: &TaskView) {
        if let Some(key) = key_of(view) {
            self.table().by_key.remove(&key);
        }
    }

    /// A pass found nothing that is left to do: what it looked at in this version is needed no more.
    pub fn rest(&self, key: &TaskKey, version: u64) {
        if let Some(entry) = self.table().by_key.get_mut(key)
            && entry.version == version
        {
            entry.view = None;
        }
    }

    /// What a pass begins with that begins now; none if there is no such Task.
    pub fn begin_pass(&self, key: &TaskKey) -> Option<CachedTask> {
        self.table().by_key.get_mut(key)?.is_due = false;
        self.cached(key)
    }

    /// What a pass over a Task would begin with; none if there is no such Task.
    pub fn cached(&self, key: &TaskKey) -> Option<CachedTask> {
        let table = self.table();
        let entry = table.by_key.get(key)?;
        let (view, spec_bytes) = (entry.view.clone(), entry.spec_bytes);
        Some(CachedTask { view, spec_bytes, uid: entry.uid.to_string(), version: entry.version })
    }

    /// What a Task waits among; none if there is no such Task.
    pub fn lane(&self, key: &TaskKey) -> Option<Lane> {
        self.table().by_key.get(key).map(|entry| entry.lane)
    }

    /// Whether the object of this uid is there.
    pub fn has(&self, key: &TaskKey, uid: &str) -> bool {
        self.table().by_key.get(key).is_some_and(|entry| &*entry.uid == uid)
    }

    /// The uids of those that show more than the record knows.
    pub fn lost(&self) -> BTreeSet<String> {
        self.table().by_key.values().filter(|entry| entry.is_lost).map(|entry| entry.uid.to_string()).collect()
    }

    pub fn len(&self) -> usize {
        self.table().by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The uids of all objects.
    pub fn uids(&self) -> HashSet<String> {
        self.table().by_key.values().map(|entry| entry.uid.to_string()).collect()
    }

    /// What the objects say.
    pub fn present(&self) -> Present {
        let table = self.table();
        let key = |(key, entry): (&TaskKey, &TaskEntry)| {
            Some((key.namespace().to_owned(), entry.idempotency_key.as_deref()?.to_owned()))
        };
        Present {
            uids: table.by_key.values().map(|entry| entry.uid.to_string()).collect(),
            keys: table.by_key.iter().filter_map(key).collect(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(view: &TaskView) -> Option<TaskKey> {
    Some(TaskKey::new(view.metadata.namespace.as_deref()?, view.metadata.name.as_deref()?))
}

/// The resource version of an object, as a number.
pub(super) fn version(view: &TaskView) -> u64 {
    view.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

fn created(view: &TaskView) -> i64 {
    view.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}

fn significance(view: &TaskView) -> u64 {
    let mut hasher = DefaultHasher::new();
    let metadata = &view.metadata;
    (metadata.generation, metadata.deletion_timestamp.is_some(), view.finalizers(), view.annotations())
        .hash(&mut hasher);
    hasher.finish()
}

/// Whether a Task shows no worker so far, and may have one.
fn has_to_start(view: &TaskView) -> bool {
    let controls = &view.spec.controls;
    let status = view.status.as_ref();
    let has_none = status.is_none_or(|status| {
        status.attempt.unwrap_or_default() == 0 && matches!(status.phase.as_deref(), None | Some("Pending" | "Queued"))
    });
    view.metadata.deletion_timestamp.is_none() && !controls.suspend && !controls.cancel && has_none
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn view(name: &str, version: u64, change: &Value) -> TaskView {
        let mut object = json!({
            "metadata": {
                "name": name, "namespace": "team", "uid": format!("uid-{name}"), "generation": 1,
                "resourceVersion": version.to_string(), "creationTimestamp": "2026-03-01T12:00:00Z",
            },
            "spec": {"objective": "Look", "idempotencyKey": format!("key-{name}")},
        });
        json_patch::merge(&mut object, change);
        serde_json::from_str(&object.to_string()).unwrap()
    }

    fn lane(tasks: &Tasks, version: u64, change: Value) -> Option<Lane> {
        tasks.apply(view("a", version, &change)).map(|(_, lane)| lane)
    }

    #[test]
    fn what_we_write_calls_for_no_pass_and_what_others_change_does() {
        let tasks = Tasks::default();
        let first = Lane::Start(Rank { created: 1_772_366_400, seen: 7 });
        assert_eq!(lane(&tasks, 7, json!({})), Some(first));
        assert_eq!(lane(&tasks, 8, json!({"status": {"phase": "Pending", "reason": "WaitingForTurn"}})), None);
        assert_eq!(tasks.lane(&TaskKey::new("team", "a")), Some(first), "it keeps its place");
        assert_eq!(lane(&tasks, 9, json!({"status": {"phase": "Queued", "attempt": 1}})), None);
        assert_eq!(tasks.lane(&TaskKey::new("team", "a")), Some(Lane::Soon));
        let changes = [
            json!({"metadata": {"generation": 2}, "spec": {"suspend": true}}),
            json!({"metadata": {"generation": 2, "finalizers": ["jct.dev/record"]}, "spec": {"suspend": true}}),
            json!({"metadata": {"generation": 2, "annotations": {"jct.dev/changed-by": "ada"}}, "spec": {"cancel": true}}),
            json!({"metadata": {"generation": 2, "deletionTimestamp": "2026-03-01T12:00:01Z"}}),
            json!({"metadata": {"uid": "another", "generation": 2, "deletionTimestamp": "2026-03-01T12:00:01Z"}}),
        ];
        for (version, change) in (10..).zip(changes) {
            assert_eq!(lane(&tasks, version, change.clone()), Some(Lane::Soon), "{change}");
            assert_eq!(lane(&tasks, version, change.clone()), None, "once: {change}");
        }
    }

    #[test]
    fn a_task_that_was_missed_in_a_list_is_gone() {
        let tasks = Tasks::default();
        for name in ["a", "b"] {
            tasks.apply(view(name, 1, &json!({})));
        }
        tasks.begin();
        tasks.apply(view("a", 1, &json!({})));
        assert_eq!(tasks.len(), 2, "until the list is complete");
        tasks.complete();
        assert!(tasks.has(&TaskKey::new("team", "a"), "uid-a") && !tasks.has(&TaskKey::new("team", "b"), "uid-b"));
        assert!(!tasks.has(&TaskKey::new("team", "a"), "uid-b"));
        let present = tasks.present();
        assert_eq!(present.uids, HashSet::from(["uid-a".to_owned()]));
        assert_eq!(present.keys, HashSet::from([("team".to_owned(), "key-a".to_owned())]));
        tasks.remove(&view("a", 2, &json!({})));
        assert!(tasks.is_empty());
    }

    #[test]
    fn of_the_first_in_line_everything_is_at_hand_and_then_of_the_latest() {
        let tasks = Tasks::default();
        let name = |n: usize| format!("t{n}");
        let key = |n: usize| TaskKey::new("team", &name(n));
        let come = |n: usize| tasks.apply(view(&name(n), n as u64 + 1, &json!({})));
        let kept = |n: usize| tasks.cached(&key(n)).unwrap().view.is_some();
        for n in 0..=VIEWS {
            come(n);
        }
        assert_eq!((kept(0), kept(VIEWS - 1), kept(VIEWS)), (true, true, false), "all wait for their first pass");
        for n in 0..=VIEWS {
            assert_eq!(tasks.begin_pass(&key(n)).unwrap().view.is_some(), n < VIEWS);
        }
        come(VIEWS + 1);
        assert_eq!((kept(0), kept(1), kept(VIEWS + 1)), (false, true, true), "passes were over the others");
        assert_eq!(tasks.table().views.len(), VIEWS);
        let status = json!({"status": {"phase": "Queued", "attempt": 1}});
        tasks.apply(view(&name(VIEWS + 1), 1000, &status));
        for n in VIEWS + 2..2 * VIEWS + 1 {
            come(n);
        }
        assert!(kept(VIEWS + 1), "its pass has not begun, though its status changed");
        assert!(!kept(1));
        let tasks = Tasks::default();
        for n in 0..2 {
            tasks.apply(view(&name(n), n as u64 + 1, &json!({})));
        }
        let kept = |n: usize| tasks.cached(&key(n)).unwrap().view.is_some();
        tasks.rest(&TaskKey::new("team", &name(1)), 1);
        assert!(kept(1), "that was an older version");
        tasks.rest(&TaskKey::new("team", &name(1)), 2);
        assert!(!kept(1) && kept(0));
        assert_eq!(tasks.len(), 2);
    }
}
