//! Keeping who asked for deletions until these are recorded.

use crate::domain::DeletionNote;
use crate::store::Result;
use crate::store::operation::{Changes, Needs, Operation, View};

/// Users who asked for deletions. No entry of the log: that comes with the deletion.
pub(in crate::store) struct DeletionsNoted(pub(in crate::store) Vec<DeletionNote>);

impl Operation for DeletionsNoted {
    type Output = ();

    fn needs(&self, _: &mut Needs) {}

    fn decide(&self, _: &View) -> Result<((), Changes)> {
        Ok(((), Changes { deletion_notes: self.0.clone(), ..Changes::default() }))
    }
}
