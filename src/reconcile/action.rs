//! When an object is passed over again.

use std::time::Duration;

use kube::runtime::controller;

/// When an object is passed over again, though nothing about it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action(Option<Duration>);

impl Action {
    /// After this time.
    pub const fn requeue(after: Duration) -> Self {
        Self(Some(after))
    }

    /// Not before it changes.
    pub const fn await_change() -> Self {
        Self(None)
    }

    /// After which time, if at all.
    pub const fn after(self) -> Option<Duration> {
        self.0
    }
}

impl From<Action> for controller::Action {
    fn from(action: Action) -> Self {
        action.0.map_or_else(Self::await_change, Self::requeue)
    }
}
