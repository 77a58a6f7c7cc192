//! Cursors of keyset pages: the id of the last row seen, sealed for the one query that it continues.
//!
//! A cursor that was made up, changed, or taken from another query does not open. It grants nothing: every page is
//! authorized by itself.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::id::hex;
use crate::domain::{Id, StampKey};

const ID_CHARS: usize = 26;
const SEAL_CHARS: usize = 32;

/// The key that cursors are sealed with: the same in every process of an installation, and across restarts.
#[derive(Clone)]
pub struct CursorKey(StampKey);

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey(…)")
    }
}

impl CursorKey {
    /// The key that goes with an installation's stamp key.
    pub fn of(stamp_key: &StampKey) -> Self {
        Self(stamp_key.clone())
    }

    /// The cursor that continues `query` on `path` after the row `last`.
    pub fn seal(&self, path: &str, query: &BTreeMap<String, String>, last: Id) -> String {
        format!("{last}{}", self.mac(path, query, last))
    }

    /// The row after which `cursor` continues `query` on `path`; `None` if it is no cursor of this query.
    pub fn open(&self, path: &str, query: &BTreeMap<String, String>, cursor: &str) -> Option<Id> {
        if cursor.len() != ID_CHARS + SEAL_CHARS || !cursor.is_ascii() {
            return None;
        }
        let (id, seal) = cursor.split_at(ID_CHARS);
        let id: Id = id.parse().ok()?;
        // A guess gains nothing but a page that could be had by asking for it: no constant time needed.
        (self.mac(path, query, id) == seal).then_some(id)
    }

    fn mac(&self, path: &str, query: &BTreeMap<String, String>, last: Id) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()) else { return String::new() };
        let parts = query.iter().flat_map(|(name, value)| [name.as_str(), value]);
        for part in ["jct cursor", path].into_iter().chain(parts).chain([last.to_string().as_str()]) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        hex(&mac.finalize().into_bytes()[..SEAL_CHARS / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn a_cursor_opens_for_its_own_query_alone() {
        let key = CursorKey::of(&StampKey::from_slice(&[7; 32]).unwrap());
        let last: Id = "01KJMMA2G027CE4HT1RZKZBW4A".parse().unwrap();
        let mine = query(&[("status", "failed")]);
        let cursor = key.seal("/tasks", &mine, last);
        assert_eq!(key.open("/tasks", &mine, &cursor), Some(last));
        assert_eq!(key.open("/audit", &mine, &cursor), None);
        assert_eq!(key.open("/tasks", &query(&[]), &cursor), None);
        assert_eq!(key.open("/tasks", &query(&[("status", "faile"), ("d", "")]), &cursor), None);
        let other = CursorKey::of(&StampKey::from_slice(&[8; 32]).unwrap());
        assert_eq!(other.open("/tasks", &mine, &cursor), None);
        for made_up in ["", "1", &last.to_string(), &cursor.replace('4', "5"), &"é".repeat(29), &cursor.to_lowercase()]
        {
            assert_eq!(key.open("/tasks", &mine, made_up), None, "{made_up}");
        }
    }
}
