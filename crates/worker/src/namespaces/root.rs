//! The file system that an executor finds: an empty one, into which goes what it may have, each at its own path.
//!
//! | | |
//! |---|---|
//! | what the sandbox reads | read-only |
//! | what it writes | as it is |
//! | /tmp | the executor's scratch |
//! | /proc | of the new process 1 |
//! | /dev | the few devices that every program takes for granted |
//! | anything else | not there |
//!
//! No set-user-ID program counts, and no device but those. Built on an empty file system of memory, onto which this process
//! turns with pivot_root(2), so that no path leads back.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use super::Enclosure;

/// On one of these the new file system is built; whatever is in it is hidden from this process alone, and for a moment.
const PLACES: [&str; 5] = ["/tmp", "/mnt", "/run", "/var", "/opt"];
/// No terminal is among them: the executor has none.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
const LINKS_IN_DEV: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// Made here, whatever is to be read of the machine's.
const OWN: [&str; 2] = ["/proc", "/dev"];

/// Something of the machine's file system in the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bind {
    source: PathBuf,
    is_writable: bool,
}

/// What goes where: binds and links by the path at which they are in the new file system, parents first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Plan {
    binds: BTreeMap<PathBuf, Bind>,
    links: BTreeMap<PathBuf, PathBuf>,
}

impl Plan {
    fn of(enclosure: &Enclosure) -> Self {
        let sandbox = &enclosure.sandbox;
        let mut plan = Self::default();
        for path in &sandbox.reads {
            plan.add(path, false);
        }
        // Somebody may want the machine's own.
        let scratch = Path::new("/tmp");
        if !plan.binds.keys().any(|path| scratch.starts_with(path))
            && let Ok(source) = fs::canonicalize(&enclosure.tmp)
        {
            plan.binds.insert(scratch.into(), Bind { source, is_writable: true });
        }
        for path in &sandbox.writes {
            plan.add(path, true);
        }
        plan.prune();
        plan
    }

    /// Takes out what is there anyway, within another.
    fn prune(&mut self) {
        let all = self.binds.clone();
        self.binds.retain(|path, bind| {
            let mut above = path.ancestors().skip(1).filter_map(|above| Some((above, all.get(above)?)));
            let Some((above, outer)) = above.next() else { return true };
            let within = path.strip_prefix(above).map(|rest| outer.source.join(rest));
            !(within.as_ref() == Ok(&bind.source) && outer.is_writable == bind.is_writable)
        });
        let links = self.links.clone();
        self.links.retain(|path, _| !path.ancestors().skip(1).any(|above| links.contains_key(above)));
    }

    /// A path of the machine, if there is such a one: at the path that it has without links, and with a link from the other.
    fn add(&mut self, path: &Path, is_writable: bool) {
        if OWN.iter().any(|own| path.starts_with(own)) {
            return;
        }
        let Ok(source) = fs::canonicalize(path) else { return };
        if source == Path::new("/") || OWN.iter().any(|own| source.starts_with(own)) {
            return;
        }
        if source != path {
            self.links.insert(path.into(), source.clone());
        }
        self.binds.insert(source.clone(), Bind { source, is_writable });
    }

    /// Whether what is mounted at `path` may be written.
    fn is_writable(&self, path: &Path) -> bool {
        path.ancestors().find_map(|path| self.binds.get(path)).is_some_and(|bind| bind.is_writable)
    }
}

/// Builds the file system, and makes it this process's root. The working directory stays, by its path.
///
/// # Errors
/// In words, what cannot be had.
pub fn enter(enclosure: &Enclosure) -> Result<(), String> {
    let here = std::env::current_dir().map_err(|error| format!("the working directory: {error}"))?;
    let plan = Plan::of(enclosure);
    begin()?;
    for (path, bind) in &plan.binds {
        let (old, new) = (within("/old", &bind.source), within("/new", path));
        put(&old, &new).map_err(|error| format!("{} cannot be given: {error}", path.display()))?;
    }
    devices().map_err(|error| format!("/dev cannot be made: {error}"))?;
    processes()?;
    restrict(&plan)?;
    for (path, target) in &plan.links {
        link(target, &within("/new", path)).map_err(|error| format!("{} cannot be linked: {error}", path.display()))?;
    }
    turn().map_err(|error| format!("the file system cannot be left: {error}"))?;
    chdir(&here).map_err(|error| format!("the working directory {}: {error}", here.display()))
}

/// Puts an empty file system of memory in place of the machine's, which is at /old from now on.
fn begin() -> Result<(), String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        format!("this machine gives no mounts in a namespace: {what}: {error}{}", super::hint())
    };
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|error| failed("private mounts", &error))?;
    let place = PLACES.iter().map(Path::new).find(|place| place.is_dir());
    let place = place.ok_or_else(|| failed("a place", &format!("none of {PLACES:?} is there")))?;
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("jct"), place, Some("tmpfs"), plain, Some("mode=0755")).map_err(|error| failed("tmpfs", &error))?;
    for name in ["old", "new"] {
        folder(&place.join(name)).map_err(|error| failed("a folder", &error))?;
    }
    pivot_root(place, &place.join("old"))
        .and_then(|()| chdir("/"))
        .and_then(|()| mount(Some("/new"), "/new", none, MsFlags::MS_BIND, none))
        .map_err(|error| failed("pivot_root", &error))
}

/// What is at `old`, with all that is mounted in it, at `new` as well.
fn put(old: &Path, new: &Path) -> io::Result<()> {
    if old.metadata()?.is_dir() {
        folder(new)?;
    } else {
        folder(new.parent().unwrap_or(new))?;
        if !new.exists() {
            File::create_new(new)?;
        }
    }
    let none: Option<&str> = None;
    Ok(mount(Some(old), new, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?)
}

fn devices() -> io::Result<()> {
    for name in DEVICES.iter().filter(|name| Path::new("/old/dev").join(name).exists()) {
        put(&Path::new("/old/dev").join(name), &Path::new("/new/dev").join(name))?;
    }
    LINKS_IN_DEV.iter().try_for_each(|(name, target)| symlink(target, Path::new("/new/dev").join(name)))
}

fn processes() -> Result<(), String> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let none: Option<&str> = None;
    folder(Path::new("/new/proc"))
        .and_then(|()| Ok(mount(Some("proc"), "/new/proc", Some("proc"), flags, none)?))
        .map_err(|error| format!("this machine gives no /proc in a namespace: {error}{}", super::hint()))
}

/// Takes rights away from all that is mounted in the new file system, and that is under it by the machine's own mounts.
fn restrict(plan: &Plan) -> Result<(), String> {
    let table = fs::read("/old/proc/self/mountinfo").map_err(|error| format!("the table of mounts: {error}"))?;
    for (path, kept) in mounts(&table) {
        let Ok(inner) = path.strip_prefix("/new") else { continue };
        let inner = Path::new("/").join(inner);
        if OWN.iter().any(|own| inner.starts_with(own)) || inner == Path::new("/") {
            continue;
        }
        let is_writable = plan.is_writable(&inner);
        let more = if is_writable { MsFlags::empty() } else { MsFlags::MS_RDONLY };
        match remount(&path, kept | more | MsFlags::MS_NOSUID | MsFlags::MS_NODEV) {
            Ok(()) => {}
            // Hidden by another mount, or in a folder that is closed to this user: so it is to the executor.
            Err(Errno::ENOENT | Errno::EACCES) if !plan.binds.contains_key(&inner) => {}
            Err(error) => return Err(format!("{} cannot be made safe: {error}", inner.display())),
        }
    }
    Ok(())
}

fn remount(path: &Path, flags: MsFlags) -> nix::Result<()> {
    let none: Option<&str> = None;
    mount(none, path, none, flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND, none)
}

/// Where something is mounted, and the restrictions that it has already: see proc_pid_mountinfo(5). Of mounts on one another
/// only the last one is reached, and the table does not say which that is: it keeps the restrictions of all of them.
fn mounts(table: &[u8]) -> BTreeMap<PathBuf, MsFlags> {
    let line = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ').skip(4);
        let path = unescape(fields.next()?);
        let kept = fields.next()?.split(|byte| *byte == b',').fold(MsFlags::empty(), |flags, option| {
            flags
                | match option {
                    b"ro" => MsFlags::MS_RDONLY,
                    b"nosuid" => MsFlags::MS_NOSUID,
                    b"nodev" => MsFlags::MS_NODEV,
                    b"noexec" => MsFlags::MS_NOEXEC,
                    _ => MsFlags::empty(),
                }
        });
        Some((path, kept))
    };
    let mut found = BTreeMap::new();
    for (path, kept) in table.split(|byte| *byte == b'\n').filter_map(line) {
        *found.entry(path).or_insert(MsFlags::empty()) |= kept;
    }
    found
}

/// Blanks and the like are there as `\040`.
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[3..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// Leaves a link, unless something is there, by which the target is there as well.
fn link(target: &Path, path: &Path) -> io::Result<()> {
    folder(path.parent().unwrap_or(path))?;
    match symlink(target, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

/// Makes the new file system the root, and lets go of the machine's.
fn turn() -> nix::Result<()> {
    // All of it is made.
    remount(Path::new("/new"), MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV)?;
    chdir("/new")?;
    // One on the other: see the end of pivot_root(2).
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}

fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// `path`, an absolute one, as it is below `root`.
fn within(root: &str, path: &Path) -> PathBuf {
    let mut bytes = root.as_bytes().to_vec();
    bytes.extend(path.as_os_str().as_bytes());
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{ProcessLimits, Sandbox};
    use jct_domain::executor::SandboxMode;

    fn plan(reads: &[&Path], writes: &[&Path], tmp: &Path) -> Plan {
        let owned = |paths: &[&Path]| paths.iter().map(|path| path.to_path_buf()).collect();
        let sandbox = Sandbox {
            model: false,
            reads: owned(reads),
            writes: owned(writes),
            unix_sockets: false,
            supervisor: vec![1],
            limits: ProcessLimits::default(),
            mode: SandboxMode::Required,
        };
        Plan::of(&Enclosure { sandbox, tmp: tmp.into(), own: Vec::new() })
    }

    #[test]
    fn paths_are_there_as_they_are_without_links_and_linked_from_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let (real, alias) = (root.join("real"), root.join("alias"));
        fs::create_dir_all(real.join("in")).unwrap();
        fs::create_dir_all(real.join("of/it")).unwrap();
        symlink(&real, &alias).unwrap();
        let reads = [&alias, &root.join("missing"), Path::new("/proc"), &real.join("of/it")];
        let plan = plan(&reads, &[&alias.join("in")], &real);
        let bind = |source: &Path, is_writable| Bind { source: source.into(), is_writable };
        let expected = [
            (PathBuf::from("/tmp"), bind(&real, true)),
            (real.clone(), bind(&real, false)),
            (real.join("in"), bind(&real.join("in"), true)),
        ];
        assert_eq!(plan.binds, BTreeMap::from(expected));
        assert_eq!(plan.links, BTreeMap::from([(alias, real.clone())]), "the other one is reached by it");
        assert!(plan.is_writable(&real.join("in/x")) && !plan.is_writable(&real.join("y")));
        assert!(!plan.is_writable(Path::new("/usr")));
    }

    #[test]
    fn who_reads_the_machines_scratch_has_no_own() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(&[Path::new("/tmp")], &[], dir.path());
        assert!(!plan.is_writable(Path::new("/tmp")));
    }

    #[test]
    fn the_table_of_mounts_is_understood() {
        let table = b"36 35 98:0 /a /new/mnt\\040x\\134y rw,nosuid,noexec,noatime master:1 - ext3 /dev/root rw\nodd\n";
        let expected = (PathBuf::from("/new/mnt x\\y"), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC);
        assert_eq!(mounts(table), BTreeMap::from([expected]));
    }

    #[test]
    fn what_is_mounted_over_something_loses_no_restriction_by_what_is_below() {
        for (below, above) in [("rw", "ro,noexec"), ("ro,noexec", "rw")] {
            let table = format!("1 0 0:1 / /new/a {below} - tmpfs t rw\n2 1 0:2 / /new/a {above} - tmpfs t rw\n");
            assert_eq!(mounts(table.as_bytes())[Path::new("/new/a")], MsFlags::MS_RDONLY | MsFlags::MS_NOEXEC);
        }
    }
}
