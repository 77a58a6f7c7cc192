//! Reading an attempt's folder. What lies there was written by an executor and is hostile until proven: nothing is followed
//! (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`), only regular files with one name are read, and no more of
//! them than is asked for.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use nix::dir::{Dir, Type};
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{SFlag, fstatat};
use sha2::{Digest, Sha256};

use jct_domain::id::hex;

/// The most entries that a folder is looked through for. The greatest manifest names fewer.
const MAX_ENTRIES: usize = 100_000;
/// The most files that are named which should not be there.
const MAX_STRANGERS: usize = 5;

pub(super) const RESOLVE: ResolveFlag =
    ResolveFlag::RESOLVE_BENEATH.union(ResolveFlag::RESOLVE_NO_SYMLINKS).union(ResolveFlag::RESOLVE_NO_MAGICLINKS);

/// What an executor can bring about is a finding on the trace, in a sentence; all else is trouble with the volume, and
/// worth another try.
pub(super) fn finding(error: io::Error, name: &str) -> io::Result<String> {
    use nix::libc::{ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENXIO, EXDEV};
    match error.raw_os_error() {
        Some(ELOOP | ENAMETOOLONG | ENOENT | ENOTDIR | ENXIO | EXDEV) => {
            Ok(format!("{name:?} is missing or no plain file"))
        }
        None => Ok(format!("{name:?}: {error}")),
        Some(_) => Err(error),
    }
}

/// Opens a regular file that has no other name.
pub(super) fn open_beneath(directory: &File, name: &str) -> io::Result<File> {
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file: OwnedFd = openat2(directory, name, OpenHow::new().flags(flags).resolve(RESOLVE))?;
    let file = File::from(file);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("is no plain file"));
    }
    if metadata.nlink() > 1 {
        return Err(io::Error::other("has another name elsewhere, a hard link, by which it can be changed"));
    }
    Ok(file)
}

/// The content of a file of at most `max_bytes`.
pub(super) fn read_beneath(directory: &File, name: &str, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open_beneath(directory, name)?;
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes { Err(io::Error::other("is too large")) } else { Ok(bytes) }
}

/// The content of a file of at most `max_bytes`, none if there is no such file, or what is wrong with it.
pub(super) fn read_if_there(
    directory: &File,
    name: &str,
    max_bytes: u64,
) -> io::Result<Option<Result<Vec<u8>, String>>> {
    match read_beneath(directory, name, max_bytes) {
        Ok(bytes) => Ok(Some(Ok(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => finding(error, name).map(|why| Some(Err(why))),
    }
}

/// The digest of a file that must have exactly `size_bytes`.
pub(super) fn digest_beneath(directory: &File, name: &str, size_bytes: u64) -> io::Result<String> {
    let file = open_beneath(directory, name)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut read = 0;
    let mut file = file.take(size_bytes.saturating_add(1));
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => {
                hash.update(&buffer[..count]);
                read += count as u64;
            }
        }
    }
    if read == size_bytes {
        Ok(hex(&hash.finalize()))
    } else {
        Err(io::Error::other("has another size than its manifest says"))
    }
}

/// Whether there is anything under `name`; a link is not followed.
pub(super) fn exists(directory: &File, name: &str) -> io::Result<bool> {
    match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(nix::Error::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A sentence on what is in the folder, folders aside, and not in `known`; none if there is nothing.
pub(super) fn strangers(directory: &File, known: &BTreeSet<&str>) -> io::Result<Option<String>> {
    let mut found = BTreeSet::new();
    let mut entries = 0;
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let listed = match list(directory, &folder) {
            Ok(listed) => listed,
            // Such as one that may not be looked into. The folder itself is the volume's trouble.
            Err(error) if !folder.is_empty() && is_hostile(&error) => {
                found.insert(format!("{folder}/"));
                continue;
            }
            Err(error) => return Err(error),
        };
        for (name, is_folder) in listed {
            entries += 1;
            if entries > MAX_ENTRIES {
                return Ok(Some(format!("there are more than {MAX_ENTRIES} files and folders")));
            }
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if is_folder {
                folders.push(path);
            } else if !known.contains(path.as_str()) {
                found.insert(path);
            }
        }
    }
    let named: Vec<String> = found.iter().take(MAX_STRANGERS).map(|path| format!("{path:?}")).collect();
    let more =
        if found.len() > MAX_STRANGERS { format!(" and {} more", found.len() - MAX_STRANGERS) } else { String::new() };
    Ok(if named.is_empty() { None } else { Some(format!("the manifest does not name {}{more}", named.join(", "))) })
}

/// Folders in which there is none of the `known` files, at the most [`MAX_STRANGERS`] of them.
pub(super) fn empty_folders(directory: &File, known: &BTreeSet<&str>) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let prefix = format!("{folder}/");
        let has_known = |prefix: &str| known.iter().any(|path| path.starts_with(prefix));
        if !folder.is_empty() && !has_known(&prefix) {
            found.push(folder);
            if found.len() == MAX_STRANGERS {
                break;
            }
            continue;
        }
        let listed = list(directory, &folder)?;
        let below = listed.into_iter().filter(|(_, is_folder)| *is_folder).map(|(name, _)| name);
        folders.extend(below.map(|name| if folder.is_empty() { name } else { format!("{folder}/{name}") }));
    }
    found.sort();
    Ok(found)
}

fn is_hostile(error: &io::Error) -> bool {
    use nix::libc::{EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EXDEV};
    matches!(error.raw_os_error(), Some(EACCES | ELOOP | ENAMETOOLONG | ENOENT | ENOTDIR | EXDEV))
}

/// Names in a folder below `directory` and whether each is a folder.
fn list(directory: &File, folder: &str) -> io::Result<Vec<(String, bool)>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let name = if folder.is_empty() { "." } else { folder };
    let opened = openat2(directory, name, OpenHow::new().flags(flags).resolve(RESOLVE))?;
    let mut opened = Dir::from_fd(opened)?;
    let mut found = Vec::new();
    for entry in opened.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if [b".".as_slice(), b".."].contains(&name.to_bytes()) {
            continue;
        }
        let is_folder = match entry.file_type() {
            Some(kind) => kind == Type::Directory,
            // Some file systems do not tell with the name.
            None => {
                let path = [folder.as_bytes(), b"/", name.to_bytes()].concat();
                let path = path.strip_prefix(b"/").unwrap_or(&path);
                let stat = fstatat(directory, path, AtFlags::AT_SYMLINK_NOFOLLOW)?;
                SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
            }
        };
        found.push((name.to_string_lossy().into_owned(), is_folder));
        if found.len() > MAX_ENTRIES {
            break;
        }
    }
    Ok(found)
}
