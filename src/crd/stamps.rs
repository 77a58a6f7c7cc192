//! Who submitted an object, under which trace, for which Run: written once, and sealed.

use std::collections::BTreeMap;

use super::names::{RUN, STAMP, SUBMITTED_BY, TRACE_ID};
use crate::domain::{Id, StampKey, TraceId};

/// What the mutating webhook vouches for, or the operator itself where it creates an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// The authenticated user.
    pub submitted_by: String,
    /// The trace that the object belongs to.
    pub trace_id: TraceId,
    /// The Run that a Task carries out.
    pub run: Option<Id>,
}

impl Stamps {
    /// The annotations of an object in `namespace`, with the seal on them.
    pub fn annotations(&self, namespace: &str, key: &StampKey) -> BTreeMap<String, String> {
        let Self { submitted_by, trace_id, run } = self;
        let seal = key.seal(namespace, submitted_by, trace_id, *run);
        let mut annotations: BTreeMap<String, String> =
            [(SUBMITTED_BY, submitted_by.clone()), (TRACE_ID, trace_id.to_string()), (STAMP, seal)]
                .map(|(name, value)| (name.to_owned(), value))
                .into();
        annotations.extend(run.map(|run| (RUN.to_owned(), run.to_string())));
        annotations
    }

    /// The stamps among the annotations of an object in `namespace`, if the seal on them holds.
    pub fn verified(annotations: Option<&BTreeMap<String, String>>, namespace: &str, key: &StampKey) -> Option<Self> {
        let found = |name: &str| annotations?.get(name);
        let submitted_by = found(SUBMITTED_BY)?.clone();
        let trace_id: TraceId = found(TRACE_ID)?.parse().ok()?;
        let run = found(RUN).map(|run| run.parse::<Id>()).transpose().ok()?;
        let holds = key.verify(namespace, &submitted_by, &trace_id, run, found(STAMP)?);
        holds.then_some(Self { submitted_by, trace_id, run })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_believed_as_they_were_written_and_no_other_way() {
        let key = StampKey::from_slice(&[7; 32]).unwrap();
        let run: Id = "01KJMMA2G027CE4HT1RZKZBW4A".parse().unwrap();
        for run in [None, Some(run)] {
            let stamps = Stamps { submitted_by: "ada".into(), trace_id: TraceId::derive("uid"), run };
            let written = stamps.annotations("team", &key);
            assert_eq!(Stamps::verified(Some(&written), "team", &key), Some(stamps));
            assert_eq!(Stamps::verified(Some(&written), "other", &key), None);
            for (name, value) in [(SUBMITTED_BY, "eve"), (TRACE_ID, "another-trace"), (STAMP, "00"), (RUN, "x")] {
                let forged = written.clone().into_iter().chain([(name.to_owned(), value.to_owned())]).collect();
                assert_eq!(Stamps::verified(Some(&forged), "team", &key), None, "{name}");
            }
            let mut moved = written;
            if moved.remove(RUN).is_none() {
                moved.insert(RUN.into(), "01KJMMA2G027CE4HT1RZKZBW4B".into());
            }
            assert_eq!(Stamps::verified(Some(&moved), "team", &key), None, "the Run is under the seal");
        }
        assert_eq!(Stamps::verified(None, "team", &key), None);
    }
}
