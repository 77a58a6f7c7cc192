//! Which objects wait for which, so that the order in which they are applied does not matter. In memory: whoever waits is
//! known again after its first pass.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

use crate::domain::cwom::{Kind, Target};

/// A custom resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

/// An object that is waited for, by name or id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    pub kind: Kind,
    pub namespace: String,
    pub target: Target,
}

/// What an object is waited for under: a hash that nobody outside of this process can aim at. Whoever has the same as
/// another one is looked at once in vain.
type Key = u64;

#[derive(Debug, Default)]
struct Table {
    hasher: RandomState,
    places: HashMap<Arc<Place>, (u32, Box<[Key]>)>,
    by_number: HashMap<u32, Arc<Place>>,
    last: u32,
    waiters: BTreeSet<(Key, u32)>,
}

impl Table {
    fn forget(&mut self, place: &Place) {
        let Some((number, keys)) = self.places.remove(place) else { return };
        self.by_number.remove(&number);
        for key in keys {
            self.waiters.remove(&(key, number));
        }
    }

    /// A number that no place has.
    fn number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.by_number.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}

/// Who waits for what. An object can wait for hundreds of others with long names, and there can be thousands of such
/// objects: none of those names is kept.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<Table>);

impl Waiting {
    /// `place` waits for these, and for nothing else.
    pub fn expect(&self, place: &Place, wants: &[Wanted]) {
        let Ok(mut table) = self.0.lock() else { return };
        table.forget(place);
        if wants.is_empty() {
            return;
        }
        let keys: Box<[Key]> = wants.iter().map(|wanted| table.hasher.hash_one(wanted)).collect();
        let (number, place) = (table.number(), Arc::new(place.clone()));
        table.waiters.extend(keys.iter().map(|key| (*key, number)));
        table.by_number.insert(number, place.clone());
        table.places.insert(place, (number, keys));
    }

    /// None but these, by namespace and name, wait of their kind.
    pub fn keep(&self, kind: Kind, there: &HashSet<(String, String)>) {
        let Ok(mut table) = self.0.lock() else { return };
        let is_gone =
            |place: &&Arc<Place>| place.kind == kind && !there.contains(&(place.namespace.clone(), place.name.clone()));
        let gone: Vec<Arc<Place>> = table.places.keys().filter(is_gone).cloned().collect();
        for place in gone {
            table.forget(&place);
        }
    }

    /// Who waits for this one.
    pub fn waiters(&self, wanted: &Wanted) -> Vec<Place> {
        let Ok(table) = self.0.lock() else { return Vec::new() };
        let key = table.hasher.hash_one(wanted);
        let numbers = table.waiters.range((key, 0)..=(key, u32::MAX)).map(|(_, number)| number);
        numbers.filter_map(|number| table.by_number.get(number)).map(|place| (**place).clone()).collect()
    }
}

/// Namespace and name of an object that is to be reconciled.
type Reference = (String, String);

/// Makes the controllers of the kinds reconcile an object, though nothing about it changed.
#[derive(Debug, Default)]
pub struct Triggers(Mutex<HashMap<Kind, UnboundedSender<Reference>>>);

impl Triggers {
    /// What is triggered of this kind, from now on.
    pub fn open(&self, kind: Kind) -> UnboundedReceiver<Reference> {
        let (sender, receiver) = unbounded();
        if let Ok(mut senders) = self.0.lock() {
            senders.insert(kind, sender);
        }
        receiver
    }

    /// Triggers an object. Without a controller for its kind nothing happens.
    pub fn send(&self, place: Place) {
        if let Ok(senders) = self.0.lock()
            && let Some(sender) = senders.get(&place.kind)
        {
            // A controller that is gone needs no trigger.
            let _ = sender.unbounded_send((place.namespace, place.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Place { kind: Kind::Issue, namespace: "team".into(), name: name.into() }
    }

    fn repo(namespace: &str, name: &str) -> Wanted {
        Wanted { kind: Kind::Repo, namespace: namespace.into(), target: Target::Name(name.into()) }
    }

    #[test]
    fn waiters_are_known_until_they_wait_for_something_else() {
        let waiting = Waiting::default();
        waiting.expect(&place("a"), &[repo("team", "r"), repo("team", "s")]);
        waiting.expect(&place("b"), &[repo("team", "r")]);
        let names = |wanted: &Wanted| {
            let mut names: Vec<String> = waiting.waiters(wanted).into_iter().map(|place| place.name).collect();
            names.sort();
            names
        };
        assert_eq!(names(&repo("team", "r")), ["a", "b"]);
        assert_eq!(names(&repo("other", "r")), [""; 0]);
        waiting.expect(&place("a"), &[repo("team", "s")]);
        assert_eq!((names(&repo("team", "r")), names(&repo("team", "s"))), (vec!["b".into()], vec!["a".into()]));
        waiting.expect(&place("a"), &[]);
        waiting.expect(&place("b"), &[]);
        let table = waiting.0.into_inner().unwrap();
        let Table { places, by_number, waiters, .. } = table;
        assert!(places.is_empty() && by_number.is_empty() && waiters.is_empty(), "nothing is left behind");
    }

    #[test]
    fn who_is_gone_waits_no_longer() {
        let waiting = Waiting::default();
        let run = Place { kind: Kind::Run, ..place("gone") };
        for place in [&place("here"), &place("gone"), &run] {
            waiting.expect(place, &[repo("team", "r")]);
        }
        waiting.keep(Kind::Issue, &HashSet::from([("team".to_owned(), "here".to_owned())]));
        let mut left = waiting.waiters(&repo("team", "r"));
        left.sort_by_key(|place| place.kind.as_str());
        assert_eq!(left, [place("here"), run], "of other kinds it says nothing");
    }

    #[test]
    fn long_names_that_are_waited_for_take_no_room() {
        let waiting = Waiting::default();
        let name = |n: usize| format!("{n}-{}", "n".repeat(240));
        let wants: Vec<Wanted> = (0..600).map(|n| repo("team", &name(n))).collect();
        waiting.expect(&place("greedy"), &wants);
        assert_eq!(waiting.waiters(&repo("team", &name(599))).len(), 1);
        let shown = format!("{waiting:?}");
        assert!(shown.len() < 600 * 2 * 40 && !shown.contains("nnnn"), "{} bytes", shown.len());
    }

    #[test]
    fn a_trigger_reaches_the_controller_of_its_kind() {
        let triggers = Triggers::default();
        triggers.send(place("too-early"));
        let mut issues = triggers.open(Kind::Issue);
        let mut runs = triggers.open(Kind::Run);
        triggers.send(place("a"));
        assert_eq!(issues.try_recv().unwrap(), ("team".into(), "a".into()));
        assert!(issues.try_recv().is_err() && runs.try_recv().is_err());
    }
}
