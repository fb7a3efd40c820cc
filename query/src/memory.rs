//! How much memory queries may use.

use std::fs;
use std::path::Path;

/// Used where the system tells nothing.
const FALLBACK: usize = 2 << 30;

/// Half of the memory of the machine, or of the control group if that allows less.
pub(crate) fn default_limit() -> usize {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_in(&text));
    let group = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| group_limit(&text));
    match (machine, group) {
        (Some(machine), Some(group)) => machine.min(group) / 2,
        (Some(one), None) | (None, Some(one)) => one / 2,
        (None, None) => FALLBACK,
    }
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn total_in(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The smallest limit of this process's control group (version 2) and the groups around it.
fn group_limit(cgroup: &str) -> Option<usize> {
    let own = cgroup.lines().find_map(|l| l.strip_prefix("0::"))?;
    let inner = Path::new(own.trim_start_matches('/'));
    let limits = inner.ancestors().filter_map(|group| {
        let text = fs::read_to_string(Path::new("/sys/fs/cgroup").join(group).join("memory.max")).ok()?;
        text.trim().parse::<usize>().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        assert_eq!(total_in("MemFree: 1 kB\nMemTotal:       16 kB\n"), Some(16 << 10));
        assert_eq!(total_in("nothing"), None);
        assert!(default_limit() > 0);
    }
}
