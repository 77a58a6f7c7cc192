//! Which objects wait for which, so that the order in which they are applied does not matter. In memory: whoever waits is
//! known again after its first pass.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

use crate::domain::cwom::{Kind, Target};

/// A custom resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An object that is waited for, by name or id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Which one.
    pub target: Target,
}

#[derive(Debug, Default)]
struct Table {
    waiters: HashMap<Wanted, HashSet<Place>>,
    wants: HashMap<Place, Vec<Wanted>>,
}

/// Who waits for what.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<Table>);

impl Waiting {
    /// `place` waits for these, and for nothing else.
    pub fn expect(&self, place: &Place, wants: Vec<Wanted>) {
        let Ok(mut table) = self.0.lock() else { return };
        let Table { waiters, wants: all } = &mut *table;
        for wanted in all.remove(place).unwrap_or_default() {
            if let Some(found) = waiters.get_mut(&wanted) {
                found.remove(place);
                if found.is_empty() {
                    waiters.remove(&wanted);
                }
            }
        }
        if wants.is_empty() {
            return;
        }
        for wanted in &wants {
            waiters.entry(wanted.clone()).or_default().insert(place.clone());
        }
        all.insert(place.clone(), wants);
    }

    /// Who waits for this one.
    pub fn waiters(&self, wanted: &Wanted) -> Vec<Place> {
        let Ok(table) = self.0.lock() else { return Vec::new() };
        table.waiters.get(wanted).map(|places| places.iter().cloned().collect()).unwrap_or_default()
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
        waiting.expect(&place("a"), vec![repo("team", "r"), repo("team", "s")]);
        waiting.expect(&place("b"), vec![repo("team", "r")]);
        let names = |wanted: &Wanted| {
            let mut names: Vec<String> = waiting.waiters(wanted).into_iter().map(|place| place.name).collect();
            names.sort();
            names
        };
        assert_eq!(names(&repo("team", "r")), ["a", "b"]);
        assert_eq!(names(&repo("other", "r")), [""; 0]);
        waiting.expect(&place("a"), vec![repo("team", "s")]);
        assert_eq!((names(&repo("team", "r")), names(&repo("team", "s"))), (vec!["b".into()], vec!["a".into()]));
        waiting.expect(&place("a"), Vec::new());
        waiting.expect(&place("b"), Vec::new());
        let table = waiting.0.into_inner().unwrap();
        assert!(table.waiters.is_empty() && table.wants.is_empty(), "nothing is left behind");
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
