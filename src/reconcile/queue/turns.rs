//! Which Task is next. Pure.
//!
//! Within a namespace what is under way goes before what has not begun, and of the latter the first come is the first served.
//! Namespaces take turns: one that has thousands of Tasks waiting gets one of them done, and then each other has a turn.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// A Task, by namespace and name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey(Arc<str>);

impl TaskKey {
    /// The Task of this name. Neither of the two can hold a `/`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}").into())
    }

    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, name)| name)
    }
}

impl fmt::Debug for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// When a Task came: by the second of its creation, and in that by the order in which Tasks were first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Seconds since 1970.
    pub created: i64,
    /// The resource version that it was first seen in.
    pub seen: u64,
}

/// What a Task waits among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// What is under way, or ends without a worker: nobody waits for long here.
    Soon,
    /// What is to have its first worker.
    Start(Rank),
}

#[derive(Debug, Default)]
struct Line {
    soon: VecDeque<TaskKey>,
    starts: BTreeSet<(Rank, TaskKey)>,
}

/// Who waits for a pass.
#[derive(Debug, Default)]
pub struct Turns {
    lines: HashMap<Arc<str>, Line>,
    /// The namespaces that have a line, in the order of their turns.
    ring: VecDeque<Arc<str>>,
    /// Where each one waits. What stands in `soon` of a line and not here has been taken away.
    waiting: HashMap<TaskKey, Lane>,
    starts: usize,
}

impl Turns {
    /// `key` waits for a pass, in this lane from now on. Who waits already keeps its place, unless it changes lanes.
    pub fn push(&mut self, key: TaskKey, lane: Lane) {
        if self.waiting.get(&key) == Some(&lane) {
            return;
        }
        self.remove(&key);
        if !self.lines.contains_key(key.namespace()) {
            let namespace: Arc<str> = key.namespace().into();
            self.ring.push_back(namespace.clone());
            self.lines.insert(namespace, Line::default());
        }
        if let Some(line) = self.lines.get_mut(key.namespace()) {
            match lane {
                Lane::Soon => line.soon.push_back(key.clone()),
                Lane::Start(rank) => {
                    line.starts.insert((rank, key.clone()));
                    self.starts += 1;
                }
            }
        }
        self.waiting.insert(key, lane);
    }

    /// `key` waits no longer.
    pub fn remove(&mut self, key: &TaskKey) {
        if let Some(Lane::Start(rank)) = self.waiting.remove(key) {
            self.starts -= 1;
            if let Some(line) = self.lines.get_mut(key.namespace()) {
                line.starts.remove(&(rank, key.clone()));
            }
        }
    }

    /// Whose turn it is; only among what is under way unless `may_start`.
    pub fn next(&mut self, may_start: bool) -> Option<(TaskKey, Lane)> {
        self.next_among(may_start, |_| true)
    }

    /// The same among those namespaces that `may` have one. The others keep their turns.
    pub fn next_among(&mut self, may_start: bool, may: impl Fn(&str) -> bool) -> Option<(TaskKey, Lane)> {
        let mut at = 0;
        for _ in 0..self.ring.len() {
            if !self.ring.get(at).is_some_and(|namespace| may(namespace)) {
                at += 1;
                continue;
            }
            let namespace = self.ring.remove(at)?;
            let Some(line) = self.lines.get_mut(&namespace) else { continue };
            let taken = take(line, &mut self.waiting, may_start);
            if let Some((_, Lane::Start(_))) = taken {
                self.starts -= 1;
            }
            if line.soon.is_empty() && line.starts.is_empty() {
                self.lines.remove(&namespace);
            } else {
                self.ring.push_back(namespace);
            }
            if taken.is_some() {
                return taken;
            }
        }
        None
    }

    /// The lane in which `key` waits.
    pub fn lane(&self, key: &TaskKey) -> Option<Lane> {
        self.waiting.get(key).copied()
    }

    /// How many wait for their first worker.
    pub fn starts(&self) -> usize {
        self.starts
    }

    /// How many wait for anything else.
    pub fn soon(&self) -> usize {
        self.waiting.len() - self.starts
    }
}

fn take(line: &mut Line, waiting: &mut HashMap<TaskKey, Lane>, may_start: bool) -> Option<(TaskKey, Lane)> {
    while let Some(key) = line.soon.pop_front() {
        if waiting.get(&key) == Some(&Lane::Soon) {
            waiting.remove(&key);
            return Some((key, Lane::Soon));
        }
    }
    if !may_start {
        return None;
    }
    let (_, key) = line.starts.pop_first()?;
    let lane = waiting.remove(&key)?;
    Some((key, lane))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start(created: i64, seen: u64) -> Lane {
        Lane::Start(Rank { created, seen })
    }

    fn all(turns: &mut Turns) -> Vec<String> {
        std::iter::from_fn(|| turns.next(true)).map(|(key, _)| format!("{key:?}").replace('"', "")).collect()
    }

    #[test]
    fn the_single_task_of_one_namespace_waits_for_one_of_thousands_of_another() {
        let mut turns = Turns::default();
        for n in 0..5000 {
            turns.push(TaskKey::new("many", &format!("t{n}")), start(100, n));
        }
        for _ in 0..10 {
            turns.next(true);
        }
        turns.push(TaskKey::new("one", "t"), start(200, 9000));
        let order = all(&mut turns);
        assert!(order.iter().position(|key| key == "one/t").unwrap() < 2, "{:?}", &order[..5]);
        assert_eq!((order.len(), turns.starts(), turns.soon()), (4991, 0, 0));
        assert!(turns.lines.is_empty() && turns.ring.is_empty() && turns.waiting.is_empty(), "nothing is left behind");
    }

    #[test]
    fn what_is_under_way_goes_first_and_a_cancelled_task_leaves_the_line() {
        let mut turns = Turns::default();
        let (a, b, c) = (TaskKey::new("n", "a"), TaskKey::new("n", "b"), TaskKey::new("n", "c"));
        turns.push(a.clone(), start(1, 1));
        turns.push(b.clone(), start(2, 2));
        turns.push(c, Lane::Soon);
        assert_eq!((turns.starts(), turns.soon()), (2, 1));
        turns.push(b, Lane::Soon);
        assert_eq!((turns.starts(), turns.soon()), (1, 2));
        assert_eq!(turns.lane(&a), Some(start(1, 1)));
        assert_eq!(turns.next(false).unwrap().0.name(), "c");
        assert_eq!(turns.next(false).unwrap().0.name(), "b");
        assert_eq!(turns.next(false), None, "nothing may start");
        assert_eq!(all(&mut turns), ["n/a"]);
        turns.push(a.clone(), Lane::Soon);
        turns.remove(&a);
        assert_eq!((turns.next(true), turns.lane(&a)), (None, None));
    }

    proptest! {
        #[test]
        fn nobody_is_left_out_or_served_twice_and_namespaces_take_turns(
            tasks in prop::collection::vec((0..4_u8, 0..50_i64, any::<bool>()), 1..200),
        ) {
            let mut turns = Turns::default();
            let namespaces: std::collections::BTreeSet<_> = tasks.iter().map(|(namespace, ..)| *namespace).collect();
            for (n, (namespace, created, soon)) in tasks.iter().enumerate() {
                let key = TaskKey::new(&format!("n{namespace}"), &format!("t{n}"));
                turns.push(key.clone(), start(*created, n as u64));
                if *soon {
                    turns.push(key, Lane::Soon);
                }
            }
            let mut last: HashMap<String, usize> = HashMap::new();
            let mut ranks: HashMap<String, Rank> = HashMap::new();
            let mut left = tasks.len();
            for at in 0.. {
                let Some((key, lane)) = turns.next(true) else { break };
                left -= 1;
                // Whoever still waits had its turn among the last ones, one for each namespace.
                if let Some(before) = last.insert(key.namespace().to_owned(), at) {
                    prop_assert!(at - before <= namespaces.len());
                }
                if let Lane::Start(rank) = lane {
                    let before = ranks.insert(key.namespace().to_owned(), rank);
                    prop_assert!(before.is_none_or(|before| before < rank), "first come, first served");
                } else {
                    prop_assert!(!ranks.contains_key(key.namespace()), "what is under way goes first");
                }
            }
            prop_assert_eq!(left, 0);
        }
    }
}
