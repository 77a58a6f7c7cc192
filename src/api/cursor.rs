//! Cursors of keyset pages: the id of the last row looked at, sealed for the one query that it continues.
//!
//! A cursor that was made up, changed, or taken from another query does not open. It grants nothing: every page is
//! authorized by itself. And it tells nothing: the row may be one that its reader may not see, so the id is encrypted, under
//! a seal that comes of the id and the query (as in SIV, RFC 5297), which needs no random bytes.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::id::hex;
use crate::domain::{Id, StampKey};

/// The bytes of an id, and of its seal.
const BYTES: usize = 16;

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
        let seal = self.mac(path, query, last);
        format!("{}{}", hex(&seal), hex(&self.masked(&seal, last.to_bytes()))).to_ascii_uppercase()
    }

    /// The row after which `cursor` continues `query` on `path`; `None` if it is no cursor of this query.
    pub fn open(&self, path: &str, query: &BTreeMap<String, String>, cursor: &str) -> Option<Id> {
        let bytes: [u8; 2 * BYTES] = unhex(cursor)?.try_into().ok()?;
        let (seal, masked) = bytes.split_at(BYTES);
        let id = Id::from_bytes(self.masked(seal, masked.try_into().ok()?));
        // A guess gains nothing but a page that could be had by asking for it: no constant time needed.
        (self.mac(path, query, id) == seal).then_some(id)
    }

    fn mac(&self, path: &str, query: &BTreeMap<String, String>, last: Id) -> Vec<u8> {
        let last = last.to_string();
        let parts = query.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let parts: Vec<&[u8]> = [path.as_bytes()].into_iter().chain(parts).chain([last.as_bytes()]).collect();
        self.hash("jct cursor", &parts)
    }

    /// `id` under a mask of its own, or without it again.
    fn masked(&self, seal: &[u8], mut id: [u8; BYTES]) -> [u8; BYTES] {
        for (byte, mask) in id.iter_mut().zip(self.hash("jct cursor id", &[seal])) {
            *byte ^= mask;
        }
        id
    }

    fn hash(&self, purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()) else { return Vec::new() };
        for part in [purpose.as_bytes()].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes()[..BYTES].to_vec()
    }
}

/// The bytes whose upper-case hex digits these are.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
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
        assert!(!cursor.to_uppercase().contains(&last.to_string()), "{cursor}");
        assert!(!cursor.contains(&hex(&last.to_bytes()).to_uppercase()), "{cursor}");
        let changed = format!("{}{}", &cursor[..63], if cursor.ends_with('0') { '1' } else { '0' });
        for made_up in ["", "1", &last.to_string(), &changed, &"é".repeat(32), &cursor.to_lowercase(), &cursor[..62]] {
            assert_eq!(key.open("/tasks", &mine, made_up), None, "{made_up}");
        }
    }
}
