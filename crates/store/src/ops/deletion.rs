//! Keeping who asked for deletions until these are recorded.

use crate::Result;
use crate::operation::{Changes, Needs, Operation, View};
use jct_domain::DeletionNote;

/// Users who asked for deletions. No entry of the log: that comes with the deletion.
pub(crate) struct NoteDeletions(pub(crate) Vec<DeletionNote>);

impl Operation for NoteDeletions {
    type Output = ();

    fn needs(&self, _: &mut Needs) {}

    fn decide(&self, _: &View) -> Result<((), Changes)> {
        Ok(((), Changes { deletion_notes: self.0.clone(), ..Changes::default() }))
    }
}
