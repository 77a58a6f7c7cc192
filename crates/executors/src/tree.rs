//! The files of the commit, as git lists them: nothing else of the checkout is ever looked at.

use std::ops::ControlFlow;

use super::git::{Git, Seen};

/// More entries are not looked at.
const MAX_ENTRIES: usize = 1_000_000;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    /// A symlink; never followed.
    Symlink,
    /// Another repository; never fetched.
    Submodule,
}

/// An entry of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From the root of the repository, as bytes.
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Size of a file, in bytes.
    pub size_bytes: u64,
}

/// Every entry of the tree of `commit`, and whether that is all.
///
/// # Errors
/// When git fails.
pub fn list(git: Git, commit: &str) -> anyhow::Result<(Vec<Entry>, Seen)> {
    let mut entries = Vec::new();
    let args = ["ls-tree", "-r", "-z", "--long", "--full-tree", "--end-of-options", commit];
    let seen = git.records(&args, 0, |record| {
        entries.extend(parse(record));
        if entries.len() < MAX_ENTRIES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok((entries, seen))
}

fn parse(record: &[u8]) -> Option<Entry> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let mut columns = std::str::from_utf8(record.get(..tab)?).ok()?.split_ascii_whitespace();
    let kind = match columns.next()? {
        "120000" => Kind::Symlink,
        "160000" => Kind::Submodule,
        _ => Kind::File,
    };
    let size_bytes = columns.nth(2)?.parse().unwrap_or(0);
    Some(Entry { path: record.get(tab + 1..)?.to_vec(), kind, size_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_parsed_with_any_name() {
        let entry = parse(b"100644 blob abc      12\ta\tb\n\xff").unwrap();
        assert_eq!(entry, Entry { path: b"a\tb\n\xff".to_vec(), kind: Kind::File, size_bytes: 12 });
        assert_eq!(parse(b"160000 commit abc       -\tsub").unwrap().kind, Kind::Submodule);
        assert_eq!(parse(b"nonsense"), None);
    }
}
