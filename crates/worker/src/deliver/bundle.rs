//! A bundle's header, which says what it holds: its pack is all that git is given of it.
//!
//! <https://git-scm.com/docs/gitformat-bundle>

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};

/// The longest header, in bytes: ours has five lines.
const MAX_HEADER_BYTES: u64 = 64 * 1024;

/// What a bundle says that it holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The commits that whoever takes it must have.
    pub prerequisites: Vec<String>,
    /// The commits that its refs are at.
    pub tips: Vec<String>,
}

/// Reads the header; the file is then at the pack.
///
/// # Errors
/// What is wrong with it.
pub fn read_header(file: &mut File) -> Result<Header, String> {
    let lost = |error: std::io::Error| error.to_string();
    let mut reader = BufReader::new((&mut *file).take(MAX_HEADER_BYTES));
    let (mut header, mut length) = (Header::default(), 0);
    loop {
        let mut line = Vec::new();
        length += reader.read_until(b'\n', &mut line).map_err(lost)? as u64;
        let line = String::from_utf8(line).map_err(|_| "its header is no text")?;
        let line = line.strip_suffix('\n').ok_or("its header has no end")?;
        let id = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
        match line.split_at_checked(1) {
            None => break,
            Some(("#", _)) if matches!(line, "# v2 git bundle" | "# v3 git bundle") => {}
            Some(("@", "object-format=sha1" | "object-format=sha256")) => {}
            Some(("-", commit)) => header.prerequisites.push(id(commit)),
            _ if line.starts_with(|c: char| c.is_ascii_hexdigit()) => header.tips.push(id(line)),
            _ => return Err("its header has a line that is not known".into()),
        }
    }
    drop(reader);
    file.seek(SeekFrom::Start(length)).map_err(lost)?;
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rstest::rstest;

    use super::*;

    fn read(bytes: &[u8]) -> (Result<Header, String>, Vec<u8>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let header = read_header(&mut file);
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).unwrap();
        (header, rest)
    }

    #[test]
    fn what_it_holds_and_where_its_pack_begins() {
        let (header, rest) =
            read(b"# v3 git bundle\n@object-format=sha1\n-aa first\nbb HEAD\nbb refs/heads/x\n\nPACK\n\n");
        let expected = Header { prerequisites: vec!["aa".into()], tips: vec!["bb".into(), "bb".into()] };
        assert_eq!((header, rest.as_slice()), (Ok(expected), b"PACK\n\n".as_slice()));
    }

    #[rstest]
    #[case(b"# v3 git bundle\n@filter=blob:none\n\nPACK")]
    #[case(b"# v4 git bundle\n\nPACK")]
    #[case(b"# v2 git bundle\naa x")]
    #[case(b"\xff\n\n")]
    #[case(&[b'a'; 70_000])]
    fn other_forms_are_not_taken(#[case] bytes: &[u8]) {
        assert!(read(bytes).0.is_err());
    }
}
