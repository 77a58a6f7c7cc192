//! What the folders of an executor take on disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The least time between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// So many times as long as a look takes is the time to the next one: a large tree is not walked all the time.
const REST: u32 = 20;

/// Looks again and again until the folders take more than `limit` bytes. Blocks; ends when `go_on` says no.
pub fn watch(folders: &[PathBuf], limit: u64, go_on: impl Fn() -> bool) -> bool {
    loop {
        let began = Instant::now();
        if used_bytes(folders) > limit {
            return true;
        }
        let next = Instant::now() + PAUSE.max(began.elapsed() * REST);
        while Instant::now() < next {
            if !go_on() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What the folders take, in bytes: blocks on disk, so that a hole in a file counts nothing.
pub fn used_bytes(folders: &[PathBuf]) -> u64 {
    folders.iter().map(|folder| walk(folder)).sum()
}

fn walk(root: &Path) -> u64 {
    let mut bytes = 0;
    let mut waiting = vec![root.to_path_buf()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            // Not followed: what a link leads to is not the executor's.
            let Ok(metadata) = entry.metadata() else { continue };
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_and_links_count_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/a"), vec![1; 1 << 20]).unwrap();
        fs::File::create(dir.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("root")).unwrap();
        let used = used_bytes(&[dir.path().to_owned()]);
        assert!(((1 << 20)..(2 << 20)).contains(&used), "{used}");
        assert!(watch(&[dir.path().to_owned()], 1 << 19, || true));
        assert!(!watch(&[dir.path().to_owned()], 1 << 30, || false));
    }
}
