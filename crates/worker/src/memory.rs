//! Memory, by the account of the cgroup: its limit, and whether the kernel ended a process for lack of it. Best effort.

use std::ffi::OsStr;
use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use tokio::process::Command;

use super::launch::Launch;
use super::sandbox::ProcessLimits;

/// What a process may have of the container's memory, in hundredths.
const SHARE_PERCENT: u64 = 80;
/// A limit above this is none, in bytes.
const NO_LIMIT: u64 = 1 << 50;

/// How often the kernel has ended a process of this container's cgroup for lack of memory; none if it does not say.
pub fn oom_kills() -> Option<u64> {
    read("memory.events", "memory.oom_control", kills)
}

/// A command for `program` whose process may allocate somewhat less than the container may have, if that is known.
///
/// On cgroup v2 Kubernetes has the kernel end all of a container's processes together, and nobody would be left to seal
/// the trace. So a process that wants too much is to fail by itself, before that.
///
/// The limit is the child's alone, and there before it begins: our own allocator reserves address space that the limit counts,
/// and a process which is above it from then on cannot even start a thread.
pub fn limited(program: impl AsRef<OsStr>) -> Command {
    let (Some(bytes), Ok(own)) = (data_limit(), std::env::current_exe()) else { return Command::new(program) };
    let limits = ProcessLimits { data_bytes: Some(bytes), ..ProcessLimits::default() };
    Launch::Limited(limits).command(&own, program)
}

/// Git, with less memory: see [`limited`].
pub fn limited_git() -> Command {
    limited("git")
}

/// What a child may have, in bytes; none if nothing limits the container, or something limits us already.
pub fn data_limit() -> Option<u64> {
    let limit = read("memory.max", "memory.limit_in_bytes", |text| text.trim().parse::<u64>().ok())?;
    let (_, hard) = getrlimit(Resource::RLIMIT_DATA).ok()?;
    let share = limit / 100 * SHARE_PERCENT;
    (limit < NO_LIMIT && share < hard).then_some(share)
}

/// What the first file that is there says, by its name in version 2 or in version 1.
fn read<T>(v2: &str, v1: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    files(&groups, v2, v1).into_iter().find_map(|file| parse(&fs::read_to_string(file).ok()?))
}

/// Where the files may be: by the path that the host knows, then within a container's own view of its cgroup.
fn files(groups: &str, v2: &str, v1: &str) -> Vec<String> {
    let by_path = groups.lines().filter_map(|line| {
        let mut columns = line.splitn(3, ':').skip(1);
        match (columns.next()?, columns.next()?.trim_end_matches('/')) {
            ("", path) => Some(format!("/sys/fs/cgroup{path}/{v2}")),
            ("memory", path) => Some(format!("/sys/fs/cgroup/memory{path}/{v1}")),
            _ => None,
        }
    });
    let own = [format!("/sys/fs/cgroup/{v2}"), format!("/sys/fs/cgroup/memory/{v1}")];
    by_path.chain(own).collect()
}

/// `oom_kill <n>`, a line of both versions' files.
fn kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_understood() {
        assert_eq!(kills("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn the_cgroup_is_found_by_either_view() {
        assert_eq!(
            files("4:memory:/kubepods/x\n0::/\n", "memory.max", "memory.limit_in_bytes"),
            [
                "/sys/fs/cgroup/memory/kubepods/x/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
    }
}
