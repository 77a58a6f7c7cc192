//! Giving up privileges, for ever and for all that a process becomes.

use std::fs;
use std::io;
use std::os::unix::fs::lchown;
use std::path::Path;

use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// The user and group that own nothing: whom an executor runs as where it would run as root.
pub const NOBODY: u32 = 65534;

/// Drops every capability: those that this process has, those that it could get, and those that it would hand on.
///
/// # Errors
/// In words, if one is left.
pub fn drop_capabilities() -> Result<(), String> {
    drop_bounding_set()?;
    clear_ambient_capability_set().map_err(failed)?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, none).map_err(failed)?;
    match capabilities(None).map_err(failed)? {
        left if left == none => Ok(()),
        left => Err(format!("capabilities are left: {left:?}")),
    }
}

/// Has no program give this process, or one that it starts, a capability that it has not now. Who may not do that has none to
/// lose, and gets none without new privileges.
///
/// # Errors
/// In words.
pub fn drop_bounding_set() -> Result<(), String> {
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        match capability_is_in_bounding_set(capability) {
            Ok(true) => match remove_capability_from_bounding_set(capability) {
                Ok(()) | Err(Errno::PERM) => {}
                Err(error) => return Err(failed(error)),
            },
            Ok(false) => {}
            // Beyond the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

fn failed(error: Errno) -> String {
    format!("capabilities cannot be dropped: {error}")
}

/// Becomes [`NOBODY`], in no other group.
///
/// # Errors
/// In words.
pub fn become_nobody() -> Result<(), String> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[])
        .and_then(|()| setresgid(group, group, group))
        .and_then(|()| setresuid(user, user, user))
        .map_err(|error| format!("root cannot become user {NOBODY}: {error}"))
}

/// Whether this process sees what a process of [`NOBODY`] holds open, as which root has executors run: a watch that can't look
/// ends the attempt. Who is not root runs them as itself.
///
/// # Errors
/// In words, what is missing.
pub fn can_watch_another_user() -> Result<(), String> {
    if !geteuid().is_root() || capabilities(None).map_err(failed)?.effective.contains(CapabilitySet::SYS_PTRACE) {
        return Ok(());
    }
    Err(format!(
        "root has not the capability CAP_SYS_PTRACE here, without which the disk of an executor that runs as user {NOBODY} cannot \
         be watched (docker run --cap-add SYS_PTRACE gives it)"
    ))
}

/// Gives `path`, and all that is in it, to a user and the group of the same number. Links are given, never followed.
///
/// # Errors
/// If something can't be given.
pub fn give(path: &Path, id: u32) -> io::Result<()> {
    lchown(path, Some(id), Some(id))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), id)?;
        }
    }
    Ok(())
}
