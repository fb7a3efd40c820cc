//! What `/proc` says about recorded processes. Every answer may be outdated when it arrives, and every file may be
//! missing; nothing here is an error.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Longest file of `/proc` that is read whole; an environment is at most this long in practice.
const MAX_FILE: u64 = 4 << 20;

/// The parts of `/proc/<pid>/stat` that tell whether a process is still the one it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    state: u8,
    parent: u32,
    threads: u32,
    /// Start of the process in clock ticks since boot. exec does not change it.
    pub(super) start: u64,
}

impl Stat {
    /// Reads it; `None`: there is no such process.
    pub(super) fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The start of this process.
    pub(super) fn own_start() -> u64 {
        Self::of(std::process::id()).map_or(0, |stat| stat.start)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        // The name in parentheses may contain anything, parentheses and spaces included.
        let end_of_name = line.iter().rposition(|&byte| byte == b')')?;
        let rest = std::str::from_utf8(line.get(end_of_name + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        // Fields count from 3 (the state): 4 is the parent, 20 the number of threads, 22 the start.
        let parent = fields.next()?.parse().ok()?;
        let threads = fields.nth(15)?.parse().ok()?;
        let start = fields.nth(1)?.parse().ok()?;
        Some(Self { state, parent, threads, start })
    }

    /// Whether the process runs no more. A leading thread that ended before the others is a zombie too, but the process
    /// lives on; then it counts more than one thread.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.state, b'X' | b'x') || (self.state == b'Z' && self.threads <= 1)
    }
}

/// Resident bytes of a process, its file kept open.
#[derive(Debug)]
pub(super) struct Memory(Option<fs::File>);

impl Memory {
    pub(super) fn of(pid: u32) -> Self {
        Self(fs::File::open(format!("/proc/{pid}/statm")).ok())
    }

    /// Of a process that has ended already.
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn resident(&self, page_bytes: i64) -> Option<i64> {
        let mut buffer = [0; 128];
        let n = self.0.as_ref()?.read_at(&mut buffer, 0).ok()?;
        let line = std::str::from_utf8(buffer.get(..n)?).ok()?;
        let pages: i64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        pages.checked_mul(page_bytes)
    }
}

/// What a process is: its parent's id, its executable, and its arguments with a zero behind each.
pub(super) fn image(pid: u32) -> Option<(u32, String, String)> {
    let parent = Stat::of(pid)?.parent;
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let argv = read_limited(&format!("/proc/{pid}/cmdline")).ok()?;
    Some((parent, exe.to_string_lossy().into_owned(), String::from_utf8_lossy(&argv).into_owned()))
}

/// Name of a thread.
pub(super) fn thread_name(pid: u32, tid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/task/{tid}/comm")).ok()?;
    Some(String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(&name)).into_owned())
}

fn process_ids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Processes in other pid namespaces that started at `since` or later: their id there, and the one here. Where two share
/// an id there, the younger counts.
pub(super) fn namespaced(since: u64) -> HashMap<u32, u32> {
    let mut found: HashMap<u32, (u64, u32)> = HashMap::new();
    for pid in process_ids() {
        let Some(stat) = Stat::of(pid).filter(|stat| stat.start >= since) else { continue };
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        if let Some(inner) = ids.split_ascii_whitespace().skip(1).last().and_then(|id| id.parse().ok()) {
            let entry = found.entry(inner).or_insert((stat.start, pid));
            *entry = (*entry).max((stat.start, pid));
        }
    }
    found.into_iter().map(|(inner, (_, pid))| (inner, pid)).collect()
}

/// A moment after which processes may have been made; tells by their ids which they may be. Looking at all processes of a
/// machine takes milliseconds.
#[derive(Debug)]
pub(super) struct Births {
    /// An id given out at that moment.
    first: u32,
    forks: Option<u64>,
}

impl Births {
    /// Now, when process `first` has just been made.
    pub(super) fn since(first: u32) -> Self {
        Self { first, forks: forks() }
    }

    /// Whether a process with this id may be younger, for many ids.
    pub(super) fn may_include(&self) -> impl Fn(u32) -> bool {
        let limit = fs::read_to_string("/proc/sys/kernel/pid_max").ok().and_then(|text| text.trim().parse().ok());
        let made = self.forks.and_then(|before| forks()?.checked_sub(before));
        let window = window(made, limit);
        let first = self.first;
        move |pid| {
            window.is_none_or(|(limit, width)| (u64::from(pid) + limit - u64::from(first) % limit) % limit < width)
        }
    }
}

/// The number of ids, and how many of those behind a process's own may belong to younger ones, of which so many were
/// made. The kernel gives ids out in a circle and passes over those in use, here taken to be an eighth at most. `None`: any
/// id may.
fn window(made: Option<u64>, limit: Option<u64>) -> Option<(u64, u64)> {
    let (made, limit) = (made?, limit?);
    (made < limit / 2).then_some((limit, made + limit / 8))
}

/// Processes and threads made since the machine started.
fn forks() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("processes "))?.trim().parse().ok()
}

/// Whether any process made since then, but those in `known`, runs with `entry` in the environment it was started with,
/// and so may be about to register.
pub(super) fn anyone_with(entry: &[u8], since: &Births, known: &[u32]) -> bool {
    let user = fs::metadata("/proc/self").map_or(0, |meta| meta.uid());
    let is_young = since.may_include();
    process_ids().filter(|pid| *pid != std::process::id() && is_young(*pid) && !known.contains(pid)).any(|pid| {
        fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == user)
            && read_limited(&format!("/proc/{pid}/environ")).is_ok_and(|all| all.split(|&b| b == 0).any(|e| e == entry))
            && Stat::of(pid).is_some_and(|stat| !stat.is_gone())
    })
}

fn read_limited(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, MAX_FILE), &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_survives_odd_names() {
        let tail = "R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 3 0 777 0 0";
        let want = Some(Stat { state: b'R', parent: 1, threads: 3, start: 777 });
        for name in ["a", "a b", "a) R 1 (b", ")))"] {
            assert_eq!(Stat::parse(format!("7 ({name}) {tail}").as_bytes()), want);
        }
        assert_eq!(Stat::parse(b"7 (a) R 1"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn zombie_leaders_of_living_processes_are_not_gone() {
        let stat = |state, threads| Stat { state, parent: 1, threads, start: 0 };
        assert!(stat(b'Z', 1).is_gone());
        assert!(stat(b'X', 0).is_gone());
        assert!(!stat(b'Z', 2).is_gone());
        assert!(!stat(b'T', 1).is_gone());
    }

    #[test]
    fn ids_of_younger_processes_lie_in_a_window() {
        assert_eq!(window(Some(10), Some(32_768)), Some((32_768, 4106)));
        assert_eq!(window(Some(20_000), Some(32_768)), None);
        assert_eq!((window(None, Some(32_768)), window(Some(1), None)), (None, None));
        let sleep = || std::process::Command::new("sleep").arg("10").spawn().unwrap();
        let mut older = sleep();
        let births = Births::since(older.id());
        let mut younger = sleep();
        assert!(births.may_include()(younger.id()));
        for child in [&mut older, &mut younger] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn own_process_is_found() {
        let own = std::process::id();
        assert!(!Stat::of(own).unwrap().is_gone());
        assert!(Memory::of(own).resident(4096).unwrap() > 0);
        assert!(thread_name(own, own).is_some());
        assert_eq!(thread_name(own, 0), None);
        assert!(Stat::own_start() > 0);
        let (parent, exe, argv) = image(own).unwrap();
        assert_eq!(parent, std::os::unix::process::parent_id());
        assert_eq!(exe, std::env::current_exe().unwrap().to_str().unwrap());
        assert!(argv.split('\0').zip(std::env::args()).all(|(a, b)| a == b));
    }
}
