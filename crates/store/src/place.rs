//! Why a SQLite database cannot be opened, by what the file system says of its folder: SQLite's own words are few.

use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, getuid};

use super::StoreError;

/// `error` of opening `file`, with the cause where its folder is that.
pub(super) fn explained(error: StoreError, file: &Path) -> StoreError {
    let (StoreError::Unavailable(text) | StoreError::ReadOnly(text)) = &error else { return error };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = folder.display();
    match access(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
        // SQLite takes a file that it can't write to for one to be read, and then finds no place for its journal.
        Err(Errno::EROFS) => {
            StoreError::ReadOnly(format!("{text}: the folder {shown} is on a file system that is mounted read-only"))
        }
        Err(Errno::EACCES | Errno::EPERM) => {
            StoreError::ReadOnly(format!("{text}: user {} may not write to the folder {shown}", getuid()))
        }
        Err(Errno::ENOENT) => StoreError::Unavailable(format!("{text}: the folder {shown} is not there")),
        Err(Errno::ENOTDIR) => StoreError::Unavailable(format!("{text}: {shown} is no folder")),
        Ok(()) | Err(_) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_folder_is_told_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let failed = |file: &Path| explained(StoreError::Unavailable("cannot open".into()), file).to_string();
        let good = "the database is not available: cannot open";
        assert_eq!(failed(&folder.path().join("jct.db")), good);
        let missing = folder.path().join("no");
        assert_eq!(failed(&missing.join("jct.db")), format!("{good}: the folder {} is not there", missing.display()));
        let full = explained(StoreError::Full("full".into()), &missing.join("jct.db"));
        assert_eq!(full, StoreError::Full("full".into()));
    }
}
