//! Trace folders: the operator's volume of them, and checking one against its manifest and its provenance.
//!
//! `inspect` is the one judgement of files; the operator seals by it, and `jct trace verify` repeats it later.

#![warn(missing_docs)] // other crates use it

mod folder;
mod inspect;
mod read;
mod remove;
mod verify;
mod volume;

pub use inspect::Found;
pub use read::{Opened, Stamp, TraceFolder};
pub use remove::{Freed, remove_tree};
pub use verify::{Checked, Signed, State, Verdict, verify};
pub use volume::{TraceVolume, incomplete};
