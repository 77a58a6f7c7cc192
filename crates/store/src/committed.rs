//! The Tasks that a commit of this process changed, for requests that wait for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use jct_domain::Id;

use super::operation::{Fate, View};

/// The Tasks that one commit has recorded or refused. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CommittedTasks(Arc<Committed>);

#[derive(Debug, Default)]
struct Committed {
    tasks: BTreeSet<Id>,
    /// Namespace and idempotency key.
    keys: BTreeSet<(String, String)>,
}

impl CommittedTasks {
    /// The Tasks that the commit of `view` changes.
    pub(super) fn of(view: &View) -> Self {
        let inserted = view.tasks.values().filter(|slot| slot.fate == Fate::Inserted);
        let mut committed = Committed { tasks: view.refusals.keys().copied().collect(), ..Committed::default() };
        for row in inserted.filter_map(|slot| slot.row.as_ref().ok()) {
            committed.tasks.insert(row.id);
            committed.keys.extend(row.task.idempotency_key.iter().map(|key| (row.namespace.clone(), key.clone())));
        }
        Self(Arc::new(committed))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.tasks.is_empty()
    }

    /// Whether the Task with this id is among them.
    pub fn has_task(&self, id: Id) -> bool {
        self.0.tasks.contains(&id)
    }

    /// Whether a Task of the namespace with this idempotency key is among them.
    pub fn has_key(&self, namespace: &str, key: &str) -> bool {
        self.0.keys.iter().any(|(in_namespace, known)| in_namespace == namespace && known == key)
    }
}
