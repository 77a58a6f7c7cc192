//! Headers of a tar archive (POSIX.1-2001, "pax"): regular files of any name and size.

/// The unit of the format, in bytes.
pub const BLOCK: usize = 512;
/// The longest name that the plain header takes.
const MAX_NAME: usize = 100;
/// The greatest size that the plain header takes, in eleven octal digits.
const MAX_SIZE: u64 = 0o777_7777_7777;

/// What stands before the content of the file `name` of `size` bytes.
pub fn header(name: &str, size: u64, changed_at: u64) -> Vec<u8> {
    let mut records = String::new();
    if name.len() > MAX_NAME || !name.is_ascii() {
        records.push_str(&record("path", name));
    }
    if size > MAX_SIZE {
        records.push_str(&record("size", &size.to_string()));
    }
    let mut made = Vec::new();
    if !records.is_empty() {
        made.extend(block("PaxHeader", records.len() as u64, changed_at, b'x'));
        made.extend(records.as_bytes());
        made.resize(made.len() + padding(records.len() as u64), 0);
    }
    made.extend(block(name, if size > MAX_SIZE { 0 } else { size }, changed_at, b'0'));
    made
}

/// How many zeros stand after `size` bytes of content.
pub fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if over == 0 { 0 } else { BLOCK - over }
}

/// What stands at the end of an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// One record of an extended header: its own length is part of its length.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length += 1;
    }
    format!("{length} {key}={value}\n")
}

fn block(name: &str, size: u64, changed_at: u64, kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        for (place, byte) in block.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    };
    // Of a name that does not fit the extended header has all.
    let short: Vec<u8> = name.bytes().map(|b| if b.is_ascii() { b } else { b'_' }).take(MAX_NAME).collect();
    put(0, &short);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{:011o}\0", changed_at.min(MAX_SIZE)).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    for (place, byte) in block.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *place = byte;
    }
    block
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn tar_reads_names_of_any_length_and_script() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a/task.json".to_owned(), "a/größe \u{202e}.txt".into(), format!("a/{}", "x".repeat(250))];
        let mut archive = Vec::new();
        for name in &names {
            let content = name.repeat(99);
            archive.extend(header(name, content.len() as u64, 1_772_366_400));
            archive.extend(content.as_bytes());
            archive.extend(vec![0; padding(content.len() as u64)]);
        }
        archive.extend(END);
        let path = folder.path().join("x.tar");
        std::fs::File::create(&path).unwrap().write_all(&archive).unwrap();
        let done = Command::new("tar").arg("-xf").arg(&path).arg("-C").arg(folder.path()).output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        for name in &names {
            assert_eq!(std::fs::read_to_string(folder.path().join(name)).unwrap(), name.repeat(99), "{name}");
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for (value, expected) in [("x", "9 path=x\n"), ("", "8 path=\n"), ("xx", "11 path=xx\n")] {
            assert_eq!(record("path", value), expected);
        }
        for length in 80..120 {
            let record = record("path", &"x".repeat(length));
            assert!(record.starts_with(&format!("{} ", record.len())), "{record}");
        }
        assert!(header("big", MAX_SIZE + 1, 0).windows(5).any(|part| part == b"size="));
        assert_eq!((padding(0), padding(1), padding(512), padding(513)), (0, 511, 0, 511));
    }
}
