//! Unpacks an archive of the API's: regular files alone, each below the folder and new. Names are an executor's.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;

/// The unit of the format, in bytes.
const BLOCK: usize = 512;
/// The longest extended header, in bytes.
const MOST_HEADER: u64 = 1 << 20;

/// Unpacks `archive`, a tar compressed by gzip, into the new folder `target`.
///
/// # Errors
/// If there is something else in it than files below that, or the disk is full.
pub fn unpack(mut archive: File, target: &Path) -> io::Result<()> {
    archive.seek(SeekFrom::Start(0))?;
    let mut tar = GzDecoder::new(io::BufReader::new(archive));
    fs::create_dir(target)?;
    let mut extended = BTreeMap::new();
    loop {
        let mut header = [0; BLOCK];
        tar.read_exact(&mut header)?;
        if header == [0; BLOCK] {
            // What is left is compressed bytes of nothing; a broken end is told.
            return io::copy(&mut tar, &mut io::sink()).map(drop);
        }
        let size = octal(&header[124..136])?;
        match header[156] {
            b'x' => extended = records(&mut tar, size)?,
            b'0' | 0 => {
                let own = String::from_utf8_lossy(&header[..100]).trim_end_matches('\0').to_owned();
                let name = extended.get("path").cloned().unwrap_or(own);
                let size = match extended.get("size") {
                    Some(size) => size.parse().map_err(|_| bad("a size that is none"))?,
                    None => size,
                };
                write(&mut tar, &target.join(below(&name)?), size)?;
                extended.clear();
                skip(&mut tar, size)?;
            }
            _ => return Err(bad("something that is no file")),
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("there is {what} in it"))
}

/// A name of plain parts: nothing that leads elsewhere.
fn below(name: &str) -> io::Result<PathBuf> {
    let path = Path::new(name);
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let good = path.components().all(is_plain) && path.components().next().is_some();
    if good { Ok(path.to_owned()) } else { Err(bad("a name that leads elsewhere")) }
}

fn write(tar: &mut impl Read, path: &Path, size: u64) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let copied = io::copy(&mut tar.take(size), &mut file)?;
    if copied == size { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Passes over what fills the last block.
fn skip(tar: &mut impl Read, size: u64) -> io::Result<()> {
    let over = size % BLOCK as u64;
    let padding = if over == 0 { 0 } else { BLOCK as u64 - over };
    let copied = io::copy(&mut tar.take(padding), &mut io::sink())?;
    if copied == padding { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn octal(field: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(field).unwrap_or_default().trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).map_err(|_| bad("a size that is none"))
}

/// The records of an extended header: `LENGTH KEY=VALUE`, each with a line end.
fn records(tar: &mut impl Read, size: u64) -> io::Result<BTreeMap<String, String>> {
    if size > MOST_HEADER {
        return Err(bad("a header that is too long"));
    }
    let mut bytes = Vec::new();
    (&mut *tar).take(size).read_to_end(&mut bytes)?;
    skip(tar, size)?;
    let (mut records, mut rest) = (BTreeMap::new(), bytes.as_slice());
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(|| bad("a broken header"))?;
        let length: usize = std::str::from_utf8(&rest[..space])
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| bad("a broken header"))?;
        let record = rest.get(space + 1..length).ok_or_else(|| bad("a broken header"))?;
        rest = rest.get(length..).unwrap_or_default();
        let record = String::from_utf8_lossy(record);
        if let Some((key, value)) = record.trim_end_matches('\n').split_once('=') {
            records.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What `tar` makes of `make`'s folder `x`, compressed.
    fn archive(make: impl FnOnce(&Path), more: &[&str]) -> File {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("x")).unwrap();
        make(&folder.path().join("x"));
        let mut tar = Command::new("tar");
        tar.args(["-czf", "a.tar.gz", "--format=pax", "--no-recursion"]).args(more).current_dir(folder.path());
        let done = tar.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        File::open(folder.path().join("a.tar.gz")).unwrap()
    }

    fn unpacked(archive: File) -> (tempfile::TempDir, io::Result<()>) {
        let folder = tempfile::tempdir().unwrap();
        let done = unpack(archive, &folder.path().join("t"));
        (folder, done)
    }

    #[test]
    fn files_of_any_name_and_size_are_there_again() {
        let long = format!("größe-{}", "x".repeat(200));
        let made = archive(
            |folder| {
                fs::create_dir(folder.join("artifacts")).unwrap();
                fs::write(folder.join("task.json"), "{}").unwrap();
                fs::write(folder.join("artifacts").join(&long), vec![7; 100_000]).unwrap();
                fs::write(folder.join("empty"), "").unwrap();
            },
            &["x/task.json", &format!("x/artifacts/{long}"), "x/empty"],
        );
        let (folder, done) = unpacked(made);
        done.unwrap();
        assert_eq!(fs::read(folder.path().join("t/x/task.json")).unwrap(), b"{}");
        assert_eq!(fs::read(folder.path().join("t/x/artifacts").join(&long)).unwrap(), vec![7; 100_000]);
        assert_eq!(fs::read(folder.path().join("t/x/empty")).unwrap(), b"");
    }

    #[test]
    fn nothing_leads_elsewhere() {
        for name in ["x/../../evil", "/etc/evil", "../evil", "x/..", "", "x//../evil", "."] {
            assert!(below(name).is_err(), "{name}");
        }
        assert_eq!(below("x/a/b").unwrap(), Path::new("x/a/b"));
        let file = |folder: &Path| fs::write(folder.join("a"), "1").unwrap();
        let hostile = [
            archive(file, &["--transform=s,x/a,x/../../evil,", "--absolute-names", "x/a"]),
            archive(|folder| std::os::unix::fs::symlink("/etc", folder.join("a")).unwrap(), &["x/a"]),
            archive(file, &["x"]),
            archive(file, &["x/a", "x/a"]),
        ];
        for made in hostile {
            let (folder, done) = unpacked(made);
            assert!(done.is_err());
            assert!(!folder.path().join("evil").exists());
        }
        let (_, done) = unpacked(archive(file, &["x/a"]));
        done.expect("the control");
    }

    #[test]
    fn a_broken_archive_is_told() {
        let file = |folder: &Path| fs::write(folder.join("a"), vec![1; 10_000]).unwrap();
        let mut bytes = Vec::new();
        archive(file, &["x/a"]).read_to_end(&mut bytes).unwrap();
        for length in [0, 10, bytes.len() / 2, bytes.len() - 9] {
            let mut cut = tempfile::tempfile().unwrap();
            io::Write::write_all(&mut cut, &bytes[..length]).unwrap();
            assert!(unpacked(cut).1.is_err(), "{length}");
        }
    }
}
