//! One controller on one SQLite file: a lock beside it, and no file system where locks can't be relied on.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use nix::sys::statfs::statfs;

use super::StoreError;
use super::settings::{DatabaseUrl, Location};

/// The right to run the controller on a database, for as long as it lives. The operating system takes it back from a process
/// that was killed.
#[derive(Debug)]
pub struct WriterLock {
    /// None where several share a database, and settle it otherwise.
    _lock: Option<File>,
}

impl DatabaseUrl {
    /// Takes the right to run the controller on this database; none while another process of this machine has it.
    ///
    /// # Errors
    /// If the lock file cannot be written.
    pub fn lock_exclusively(&self) -> io::Result<Option<WriterLock>> {
        let Some(path) = self.path() else { return Ok(Some(WriterLock { _lock: None })) };
        let lock = self.lock_file().unwrap_or(path);
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(lock)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(WriterLock { _lock: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The file whose lock is that right.
    pub fn lock_file(&self) -> Option<PathBuf> {
        let path = self.path()?;
        let mut name = path.file_name()?.to_owned();
        name.push(".controller.lock");
        Some(path.with_file_name(name))
    }

    /// The network file system that the database is on, by its name; none if it is on none, or is no file. Of a folder that is
    /// not there nothing is known.
    pub fn network_file_system(&self) -> Option<String> {
        let folder = &self.folder()?;
        let magic = statfs(folder).ok()?.filesystem_type().0;
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let device = fs::metadata(folder).ok()?.dev();
        let kind = mounted_as(&mounts, &format!("{}:{}", major(device), minor(device)));
        network_name(i128::from(magic), kind)
    }

    /// The folder of a SQLite database.
    pub fn folder(&self) -> Option<PathBuf> {
        let path = self.path()?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Some(folder.unwrap_or(Path::new(".")).to_owned())
    }

    /// The file of a SQLite database, which must be there.
    ///
    /// # Errors
    /// [`StoreError::NoRecord`] if it is not.
    pub(super) fn file_there(&self) -> Result<Option<PathBuf>, StoreError> {
        let Some(path) = self.path() else { return Ok(None) };
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(path)),
            Ok(_) => Err(StoreError::NoRecord(format!("{} is no file", path.display()))),
            Err(error) => Err(StoreError::NoRecord(format!("{}: {error}", path.display()))),
        }
    }

    /// Whether nobody has the SQLite database open: who opens it makes the file of the write-ahead log, and the last one who closes
    /// it takes that away.
    pub fn is_at_rest(&self) -> bool {
        let Some(mut log) = self.path().map(PathBuf::into_os_string) else { return false };
        log.push("-wal");
        !Path::new(&log).exists()
    }

    fn path(&self) -> Option<PathBuf> {
        match &self.0 {
            Location::Sqlite { options, in_memory: false } => Some(options.get_filename().to_owned()),
            Location::Sqlite { in_memory: true, .. } | Location::Postgres(_) => None,
        }
    }
}

/// The type of the file system with this device number, as `/proc/self/mountinfo` has it: the last one that was mounted.
fn mounted_as<'m>(mounts: &'m str, device: &str) -> Option<&'m str> {
    let line = mounts.lines().rfind(|line| line.split(' ').nth(2) == Some(device))?;
    let (_, rest) = line.split_once(" - ")?;
    rest.split(' ').next()
}

/// Which network file system this is. By the number that statfs(2) tells; those of FUSE, all of one number, by their name.
fn network_name(magic: i128, mounted_as: Option<&str>) -> Option<String> {
    const BY_NUMBER: [(i128, &str); 13] = [
        (0x6969, "nfs"),
        (0x517b, "smb"),
        (0xff53_4d42, "cifs"),
        (0xfe53_4d42, "smb2"),
        (0x5346_414f, "afs"),
        (0x6b41_4653, "afs"),
        (0x7375_7245, "coda"),
        (0x00c3_6400, "ceph"),
        (0x0102_1997, "9p"),
        (0x0bd0_0bd0, "lustre"),
        (0x4750_4653, "gpfs"),
        (0x1983_0326, "beegfs"),
        (0x564c, "ncp"),
    ];
    const FUSE: i128 = 0x6573_5546;
    // Of FUSE, what is a disk of this machine, or of the machine that this one is a guest of alone.
    const LOCAL_FUSE: [&str; 6] =
        ["fuseblk", "virtiofs", "fuse.fuse-overlayfs", "fuse.lxcfs", "fuse.ext4", "fuse.bindfs"];
    // Numbers are of 32 bits; where the type is signed, the upper half is negative.
    let magic = magic & 0xffff_ffff;
    if let Some((_, name)) = BY_NUMBER.iter().find(|(number, _)| *number == magic) {
        return Some((*name).into());
    }
    let kind = mounted_as.unwrap_or("fuse");
    (magic == FUSE && !LOCAL_FUSE.contains(&kind)).then(|| kind.into())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn one_runs_the_controller_and_the_next_one_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::file(&folder.path().join("jct.db"));
        let first = url.lock_exclusively().unwrap().unwrap();
        assert!(url.lock_exclusively().unwrap().is_none(), "another one must wait");
        let other = DatabaseUrl::file(&folder.path().join("other.db"));
        assert!(other.lock_exclusively().unwrap().is_some(), "of another database it is another right");
        drop(first);
        assert!(url.lock_exclusively().unwrap().is_some());
        let shared: DatabaseUrl = "postgres://jct@localhost/jct".parse().unwrap();
        assert!(shared.lock_exclusively().unwrap().is_some() && shared.lock_exclusively().unwrap().is_some());
    }

    #[rstest]
    #[case(0x6969, Some("nfs4"), Some("nfs"))]
    #[case(0xff53_4d42, Some("cifs"), Some("cifs"))]
    #[case(-0x00ac_b2be, None, Some("cifs"))]
    #[case(0xfe53_4d42, Some("smb3"), Some("smb2"))]
    #[case(0x0102_1997, Some("9p"), Some("9p"))]
    #[case(0x6573_5546, Some("fuse.sshfs"), Some("fuse.sshfs"))]
    #[case(0x6573_5546, Some("fuse.glusterfs"), Some("fuse.glusterfs"))]
    #[case(0x6573_5546, None, Some("fuse"))]
    #[case(0x6573_5546, Some("fuseblk"), None)]
    #[case(0x6573_5546, Some("virtiofs"), None)]
    #[case(0xef53, Some("ext4"), None)]
    #[case(0x5846_5342, Some("xfs"), None)]
    #[case(0x0102_1994, Some("tmpfs"), None)]
    #[case(0x794c_7630, Some("overlay"), None)]
    fn network_file_systems_are_known(#[case] magic: i128, #[case] kind: Option<&str>, #[case] expected: Option<&str>) {
        assert_eq!(network_name(magic, kind).as_deref(), expected);
    }

    #[test]
    fn the_file_system_of_a_device_is_the_last_one_mounted() {
        let mounts = "22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
                      30 22 0:45 / /data rw - fuse.sshfs host:/x rw\n31 22 0:45 / /data rw master:3 - nfs4 host:/x rw\n";
        assert_eq!(mounted_as(mounts, "0:45"), Some("nfs4"));
        assert_eq!(mounted_as(mounts, "0:21"), Some("ext4"));
        assert_eq!(mounted_as(mounts, "0:4"), None);
    }

    #[test]
    fn a_temporary_folder_is_on_none() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::file(&folder.path().join("jct.db"));
        assert_eq!(url.network_file_system(), None);
        assert!(mounted_as(&fs::read_to_string("/proc/self/mountinfo").unwrap(), "x").is_none());
    }
}
