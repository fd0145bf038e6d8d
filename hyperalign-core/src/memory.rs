//! Memory of the process and of the machine, where the system tells. Linux does.

use std::{
    fs::read_to_string,
    path::{Component, Path, PathBuf},
};

/// Where control groups are, by which containers are limited.
const GROUPS: &str = "/sys/fs/cgroup";

/// The largest amount of memory that this process has held so far, in bytes; `None` where the
/// system does not tell.
pub fn peak() -> Option<u64> {
    kibibytes(&read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The memory that this process can still take before others have to give some up, in bytes: what
/// the machine has available, or what its control groups leave it if that is less. `None` where the
/// system does not tell.
pub fn available() -> Option<u64> {
    let free = kibibytes(&read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let own = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let left = own.lines().filter_map(|line| left(Path::new(GROUPS), line)).min();
    Some(left.map_or(free, |left| left.min(free)))
}

/// The number of a line of `/proc`, which are in kibibytes, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// What the limits of a group and of those above it leave. `line` is one of `/proc/self/cgroup`:
/// `id:controllers:path`, without controllers in the second version.
fn left(root: &Path, line: &str) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, Path::new(fields.next()?));
    let (root, names) = match controllers {
        "" => (root.to_owned(), ["memory.max", "memory.current", "inactive_file "]),
        _ if controllers.split(',').any(|name| name == "memory") => (
            root.join("memory"),
            ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "],
        ),
        _ => return None,
    };
    // A container may see the groups from its own one on, and still be told the path from outside.
    let own = path.components().filter(|part| matches!(part, Component::Normal(_)));
    let own: PathBuf = own.collect();
    own.ancestors().filter_map(|group| left_in_one(&root.join(group), names)).min()
}

/// What the limit of one group leaves. Pages of files that nobody uses are given up first, and do
/// not count.
fn left_in_one(group: &Path, [limit, used, unused]: [&str; 3]) -> Option<u64> {
    let number = |file| read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    let (limit, used) = (number(limit)?, number(used)?);
    let statistics = read_to_string(group.join("memory.stat")).unwrap_or_default();
    let unused = statistics.lines().find_map(|line| line.strip_prefix(unused)?.trim().parse().ok());
    Some(limit.saturating_sub(used.saturating_sub(unused.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        let text = "MemFree:  10 kB\nMemAvailable:     2048 kB\nHugePages_Total: 3\n";
        assert_eq!(kibibytes(text, "MemAvailable:"), Some(2 << 20));
        assert_eq!(kibibytes(text, "HugePages_Total:"), None);
        assert_eq!(kibibytes(text, "VmHWM:"), None);
    }

    #[test]
    fn the_narrowest_group_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        // The second version: a parent with a limit, an own group without.
        write("pod/memory.max", "1000\n");
        write("pod/memory.current", "700\n");
        write("pod/memory.stat", "anon 400\ninactive_file 300\nactive_file 0\n");
        write("pod/own/memory.max", "max\n");
        write("pod/own/memory.current", "100\n");
        let left_of = |line| left(folder.path(), line);
        assert_eq!(left_of("0::/pod/own"), Some(600));
        assert_eq!(left_of("0::/"), None);
        // The first version, which has a tree for each controller, seen from inside: the path is
        // that of the host, and only the root is there.
        write("memory/memory.limit_in_bytes", "500");
        write("memory/memory.usage_in_bytes", "600");
        write("memory/memory.stat", "inactive_file 5\ntotal_inactive_file 200\n");
        assert_eq!(left_of("4:cpu,memory:/docker/abc"), Some(100));
        assert_eq!(left_of("5:cpuset:/docker/abc"), None);
        // Nobody has more than nothing left.
        write("memory/memory.stat", "");
        assert_eq!(left_of("4:memory:/"), Some(0));
        assert_eq!(left_of("nonsense"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells() {
        assert!(peak() > Some(1 << 20) && available().is_some());
    }
}
