//! Runs one command and measures the whole tree of processes that comes of it.
//!
//! Processor time is what `wait4` says of every process that ends up as a child of this one: the command itself with all
//! that it waited for, and, because this process adopts orphans, helpers that were left behind or became daemons. Not
//! seen are children of a process that ignores `SIGCHLD`; nothing measured here does that.
//!
//! The program under test runs below `meter` (`programs/meter.c`), which reports its time and peak memory apart from the
//! profiler's. Peak memory of everything else is read from `/proc` every few milliseconds: `VmHWM` only grows, so what is
//! missed is at most the growth of the last interval.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result, in_file};
use crate::sys;

/// Longest that one run may take: a hang is a failure.
const BOUND: Duration = Duration::from_secs(600);
/// Between two looks at the memory of helpers. Short beside any run, and 1 % of one processor at most.
const LOOK: Duration = Duration::from_millis(10);
/// Names of the root process before it has become what it was started as.
const NOT_YET: [&str; 2] = ["tmq-bench", "env"];
/// What the kernel calls `meter`, below which everything is the program's.
pub const METER: &str = "tmq-meter";

/// What a run used.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// From start to the end of the last process.
    pub wall: Duration,
    /// User and system time of all processes.
    pub cpu: Duration,
    /// The program alone.
    pub target: Metered,
    /// Peak resident KiB of every other process, by name; of processes of one name the largest.
    pub helpers: BTreeMap<String, u64>,
}

/// What `meter` says of the program alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Metered {
    /// From its start to its end.
    pub wall: Duration,
    /// User and system time.
    pub cpu: Duration,
    /// Peak resident KiB.
    pub peak_kib: u64,
    /// Exit status as a shell shows it.
    pub status: i32,
}

/// Files of one run.
#[derive(Clone, Debug)]
pub struct Files {
    /// Where `meter` reports.
    pub report: PathBuf,
    /// The program's standard output.
    pub output: PathBuf,
    /// What the profiler printed.
    pub log: PathBuf,
}

impl Files {
    /// Names in a directory.
    pub fn in_directory(directory: &Path) -> Self {
        let file = |name| directory.join(name);
        Self { report: file("report"), output: file("output"), log: file("log") }
    }
}

/// Runs `command`, in which the program runs below `meter`, until its last process has ended. `drive` is called when it
/// has started; what it starts and waits for is not counted.
///
/// # Errors
/// It cannot be started, fails, takes too long, or `meter` did not report.
pub fn run(command: &mut Command, what: &str, files: &Files, drive: impl FnOnce() -> Result<()>) -> Result<Usage> {
    let _ = fs::remove_file(&files.report);
    let log = File::create(&files.log).map_err(in_file(&files.log))?;
    let errors = log.try_clone().map_err(in_file(&files.log))?;
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
    let child = child.map_err(|source| Error::Start { program: format!("{:?}", command.get_program()), source })?;
    let root = child.id();
    let ended = AtomicBool::new(false);
    let (reaped, helpers, killed) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(root, start, &ended));
        let driven = drive();
        if driven.is_err() {
            kill_tree(root);
        }
        let reaped = reap_all(root);
        ended.store(true, Ordering::Relaxed);
        let (helpers, killed) = watcher.join().unwrap_or_default();
        driven.map(|()| (reaped, helpers, killed))
    })?;
    let (cpu, status) = reaped?;
    if killed {
        return Err(Error::TooLong { what: what.to_owned(), seconds: BOUND.as_secs() });
    }
    let wall = start.elapsed();
    if status != 0 {
        let text = fs::read_to_string(&files.log).unwrap_or_default();
        return Err(Error::Failed { what: what.to_owned(), status, text });
    }
    let target = metered(&files.report)?;
    if target.status != 0 {
        let text = fs::read_to_string(&files.log).unwrap_or_default();
        return Err(Error::Failed { what: format!("the program under {what}"), status: target.status, text });
    }
    Ok(Usage { wall, cpu, target, helpers })
}

/// Waits until nothing is left; processor time of all, and the status of `root`.
fn reap_all(root: u32) -> Result<(Duration, i32)> {
    let (mut cpu, mut status) = (Duration::ZERO, -1);
    while let Some(reaped) = sys::reap().map_err(Error::System)? {
        cpu += reaped.cpu;
        if reaped.pid == root {
            status = reaped.status;
        }
    }
    Ok((cpu, status))
}

/// Notes peaks until all has ended; whether that had to be enforced.
fn watch(root: u32, start: Instant, ended: &AtomicBool) -> (BTreeMap<String, u64>, bool) {
    let (mut peaks, mut killed) = (BTreeMap::new(), false);
    while !ended.load(Ordering::Relaxed) {
        note_peaks(root, &mut peaks);
        if start.elapsed() > BOUND && !killed {
            kill_tree(root);
            killed = true;
        }
        std::thread::sleep(LOOK);
    }
    (peaks, killed)
}

fn note_peaks(pid: u32, peaks: &mut BTreeMap<String, u64>) {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return };
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let Some(name) = field("Name:") else { return };
    if name == METER {
        return;
    }
    if !NOT_YET.contains(&name) {
        let peak = field("VmHWM:").and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
        let known = peaks.entry(name.to_owned()).or_default();
        *known = peak.max(*known);
    }
    children(pid).into_iter().for_each(|child| note_peaks(child, peaks));
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

fn kill_tree(pid: u32) {
    let below = children(pid);
    sys::kill(pid);
    below.into_iter().for_each(kill_tree);
}

fn metered(report: &Path) -> Result<Metered> {
    let text = fs::read_to_string(report).map_err(in_file(report))?;
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let &[wall, user, system, peak_kib, status] = numbers.as_slice() else {
        return Err(Error::NotUnderstood { what: report.display().to_string(), text });
    };
    Ok(Metered {
        wall: Duration::from_nanos(wall),
        cpu: Duration::from_micros(user + system),
        peak_kib,
        status: i32::try_from(status).unwrap_or(-1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loops in a grandchild that nobody waits for: a tenth of a second at least.
    const ORPHAN: &str = "(setsid sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done' >/dev/null 2>&1 &)
        echo 1000 2 3 4 0 > \"$0\"";

    /// The only test here that waits for children, as it takes any child of this process.
    #[test]
    fn orphans_are_waited_for_and_counted() {
        sys::adopt_orphans().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let files = Files::in_directory(directory.path());
        let mut command = Command::new("sh");
        let usage = run(command.args(["-c", ORPHAN]).arg(&files.report), "orphan", &files, || Ok(())).unwrap();
        assert!(usage.cpu > Duration::from_millis(20), "{usage:?}");
        assert_eq!((usage.target.cpu, usage.target.peak_kib), (Duration::from_micros(5), 4));

        let failed = run(Command::new("sh").args(["-c", "exit 3"]), "failing", &files, || Ok(()));
        assert!(matches!(failed, Err(Error::Failed { status: 3, .. })), "{failed:?}");
    }
}
