//! What the controllers remember of objects between passes, by uid, for as long as the objects are there.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Something remembered of each of many objects.
///
/// A pass that lets an object go forgets it. One that goes without that, for its finalizer was taken off by hand, is forgotten
/// by the next sweep: [`ByUid::keep`].
#[derive(Debug)]
pub struct ByUid<V>(Mutex<HashMap<String, V>>);

impl<V> Default for ByUid<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V> ByUid<V> {
    /// What is remembered of an object.
    pub fn get(&self, uid: &str) -> Option<V>
    where
        V: Clone,
    {
        self.all().get(uid).cloned()
    }

    /// Remembers `value` of an object, and nothing that was before.
    pub fn put(&self, uid: &str, value: V) {
        self.all().insert(uid.to_owned(), value);
    }

    /// Changes what is remembered of an object; at first the default.
    pub fn change<T>(&self, uid: &str, change: impl FnOnce(&mut V) -> T) -> T
    where
        V: Default,
    {
        change(self.all().entry(uid.to_owned()).or_default())
    }

    /// Forgets an object.
    pub fn forget(&self, uid: &str) {
        self.all().remove(uid);
    }

    /// Forgets an object if what is remembered of it `is_old`.
    pub fn forget_if(&self, uid: &str, is_old: impl FnOnce(&V) -> bool) {
        let mut all = self.all();
        if all.get(uid).is_some_and(is_old) {
            all.remove(uid);
        }
    }

    /// Forgets all objects but these. One that came after `there` was made loses what was remembered of it: nothing that is
    /// remembered here may be more than a shortcut.
    pub fn keep(&self, there: &HashSet<String>) {
        let mut all = self.all();
        all.retain(|uid, _| there.contains(uid));
        if all.capacity() > 4 * all.len() + 64 {
            all.shrink_to_fit();
        }
    }

    /// How many objects something is remembered of.
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_kept_and_the_rest_is_forgotten() {
        let remembered: ByUid<u32> = ByUid::default();
        for n in 0..1000 {
            remembered.put(&format!("u{n}"), n);
        }
        remembered.change("u7", |value| *value += 1);
        remembered.keep(&HashSet::from(["u7".to_owned(), "elsewhere".to_owned()]));
        assert_eq!((remembered.len(), remembered.get("u7"), remembered.get("u8")), (1, Some(8), None));
        assert!(remembered.all().capacity() < 100, "its room is given back too");
        remembered.forget_if("u7", |value| *value > 8);
        assert_eq!(remembered.len(), 1);
        remembered.forget_if("u7", |value| *value == 8);
        assert!(remembered.is_empty());
    }
}
