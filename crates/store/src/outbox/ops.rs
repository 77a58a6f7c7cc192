//! Taking out what is told.

use super::Settled;
use crate::Result;
use crate::operation::{Changes, Needs, Operation, View};

/// Takes events of a receiver out.
pub(super) struct Settle(pub(super) Settled);

impl Operation for Settle {
    type Output = ();

    fn needs(&self, _: &mut Needs) {}

    fn decide(&self, _: &View) -> Result<((), Changes)> {
        Ok(((), Changes { settled: Some(self.0.clone()), ..Changes::default() }))
    }
}
