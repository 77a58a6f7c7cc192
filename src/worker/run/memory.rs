//! Whether the kernel ended a process for lack of memory, by the account of the cgroup. Reading it is best effort.

use std::fs;

/// How often the kernel has ended a process of this container's cgroup for lack of memory; none if it does not say.
pub fn oom_kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    files(&groups).into_iter().find_map(|file| parse(&fs::read_to_string(file).ok()?))
}

/// Where the count may be: within a container's own view of its cgroup first, then by the path that the host knows.
fn files(groups: &str) -> Vec<String> {
    let mut files = vec!["/sys/fs/cgroup/memory.events".into(), "/sys/fs/cgroup/memory/memory.oom_control".into()];
    for line in groups.lines() {
        let mut columns = line.splitn(3, ':').skip(1);
        match (columns.next(), columns.next()) {
            (Some(""), Some(path)) => files.insert(0, format!("/sys/fs/cgroup{path}/memory.events")),
            (Some("memory"), Some(path)) => files.insert(0, format!("/sys/fs/cgroup/memory{path}/memory.oom_control")),
            _ => {}
        }
    }
    files
}

/// `oom_kill <n>`, a line of both versions' files.
fn parse(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_understood() {
        assert_eq!(parse("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn the_cgroup_is_found_by_either_view() {
        let files = files("4:memory:/kubepods/x\n0::/\n");
        assert!(files.contains(&"/sys/fs/cgroup/memory/kubepods/x/memory.oom_control".into()));
        assert!(files.contains(&"/sys/fs/cgroup//memory.events".into()));
        assert!(files.contains(&"/sys/fs/cgroup/memory/memory.oom_control".into()));
    }
}
