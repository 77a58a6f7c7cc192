//! Limits that several kinds share. Those that the contract leaves open are here too: nothing is unbounded.

use super::{Actor, Kind};
use crate::table::Holds::{self, Free, List, Number, Object, Text};

/// The greatest number of entries of most lists.
pub const MAX_LIST: usize = 100;
/// The greatest size of `meta`, in bytes of compact JSON.
pub const MAX_META_BYTES: usize = 64 * 1024;
/// That of an Issue's: it holds the metadata, key and evidence requirements of a Task, each of the greatest size.
pub const MAX_ISSUE_META_BYTES: usize = 384 * 1024;
/// The greatest size of data inside a ContextPacket, in bytes; as the inputs of a Task.
pub const MAX_INLINE_BYTES: usize = crate::task::MAX_INPUTS_BYTES;
/// The greatest number of artifacts that one Run lists.
pub const MAX_ARTIFACTS: usize = 500;

/// `meta`.
pub const META: Holds = Free(MAX_META_BYTES);
/// A name in another system.
pub const EXTERNAL_ID: Holds = Text(1, 256);
/// An address.
pub const URL: Holds = Text(1, 2000);
/// `algorithm:hex`, such as sha256:….
pub const DIGEST: Holds = Text(1, 256);
/// IANA media type.
pub const MEDIA_TYPE: Holds = Text(1, 255);
/// Some sentences.
pub const NOTES: Holds = Text(0, 4000);
pub const WORDS: Holds = List(MAX_LIST, &Text(1, 128));
pub const SENTENCES: Holds = List(MAX_LIST, &Text(0, 4000));
/// A list of addresses.
pub const URLS: Holds = List(MAX_LIST, &URL);
pub const ACTORS: Holds = List(MAX_LIST, &Object(&Actor::SHAPE));
/// An amount of money, minutes or seconds.
pub const AMOUNT: Holds = Number(0.0, 1e12);

/// A reference to a Repo.
pub const REPO: Holds = Holds::Ref(&[Kind::Repo]);
/// A reference to an Issue.
pub const ISSUE: Holds = Holds::Ref(&[Kind::Issue]);
/// A reference to a Run.
pub const RUN: Holds = Holds::Ref(&[Kind::Run]);
/// A reference to a ConstraintSnapshot.
pub const SNAPSHOT: Holds = Holds::Ref(&[Kind::ConstraintSnapshot]);
/// References to Repos.
pub const REPOS: Holds = List(MAX_LIST, &REPO);
/// References to Issues.
pub const ISSUES: Holds = List(MAX_LIST, &ISSUE);
/// References to Runs.
pub const RUNS: Holds = List(MAX_LIST, &RUN);
pub const PACKETS: Holds = List(MAX_LIST, &Holds::Ref(&[Kind::ContextPacket]));
/// References to ConstraintSnapshots.
pub const SNAPSHOTS: Holds = List(MAX_LIST, &SNAPSHOT);
pub const DOCTRINES: Holds = List(MAX_LIST, &Holds::Ref(&[Kind::DoctrineRef]));
pub const ARTIFACTS: Holds = List(MAX_ARTIFACTS, &Holds::Ref(&[Kind::Artifact]));
