//! Commands from the start of the process to the last row: seconds, processor time, peak memory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Bench;
use crate::error::Result;
use crate::measure::{self, Files, Metered};
use crate::programs::{self, find, run};

const KIB: f64 = 1024.0;
/// What `heaptrack_print` shows in one report takes three of tmq.
const LIKE_HEAPTRACK: [&str; 3] = ["top", "leaks", "temporary"];

/// Peers that are not installed.
pub fn missing() -> Option<&'static str> {
    if find("heaptrack_print").is_none() || find("heaptrack").is_none() {
        return Some("heaptrack (Debian: apt-get install heaptrack)");
    }
    let memray = find("python3").is_some_and(|python| run(Command::new(python).args(["-c", "import memray"])).is_ok());
    if memray { None } else { Some("memray (pip install memray)") }
}

/// Records the program with every tool, times their reports and prints the table. Returns tmq's recording.
///
/// # Errors
/// A tool fails.
pub fn compare(bench: &Bench) -> Result<PathBuf> {
    let recording = bench.directory.join("run.tmq");
    let mut tmq = Command::new(&bench.tmq);
    tmq.args(["record", "--quiet", "-o"]).arg(&recording).arg("--");
    record(bench, tmq)?;
    let info = programs::info(&bench.tmq, &recording)?;
    println!(
        "{:.0} allocations; from the start of the process to the last row:",
        programs::number(&info, "allocations")?
    );
    println!("{:<34}{:>10}{:>10}{:>10}", "", "wall s", "CPU s", "MiB");
    let mut sum = Metered::default();
    for report in LIKE_HEAPTRACK {
        let used = time(bench, &[bench.tmq.clone().into(), report.into(), recording.clone().into()])?;
        show(&format!("tmq {report}"), used);
        sum.wall += used.wall;
        sum.cpu += used.cpu;
        sum.peak_kib = sum.peak_kib.max(used.peak_kib);
    }
    show("tmq top, leaks and temporary", sum);
    for words in [&["top", "--cumulative", "-g", "lineno"][..], &["traceback"]] {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let command = [&[bench.tmq.clone().into()], words.as_slice(), &[recording.clone().into()]].concat();
        let name: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        show(&format!("tmq {}", name.join(" ")), time(bench, &command)?);
    }
    heaptrack(bench)?;
    memray(bench)?;
    Ok(recording)
}

fn heaptrack(bench: &Bench) -> Result<()> {
    let (Some(heaptrack), Some(print)) = (find("heaptrack"), find("heaptrack_print")) else { return Ok(()) };
    let mut command = Command::new(heaptrack);
    command.arg("-o").arg(bench.directory.join("heaptrack"));
    record(bench, command)?;
    let file = ["zst", "gz"].map(|extension| bench.directory.join("heaptrack").with_extension(extension));
    let file = file.into_iter().find(|path| path.is_file());
    let file = file.ok_or_else(|| programs::not_understood("heaptrack's output", "there is none"))?;
    show("heaptrack_print", time(bench, &[print.into(), file.into()])?);
    Ok(())
}

/// memray records the same script in an interpreter that has it, with every object as an allocation.
fn memray(bench: &Bench) -> Result<()> {
    let Some(python) = find("python3") else { return Ok(()) };
    if run(Command::new(&python).args(["-c", "import memray"])).is_err() {
        return Ok(());
    }
    let (file, script) = (bench.directory.join("memray.bin"), bench.command.last().cloned().unwrap_or_default());
    let mut command = Command::new(&python);
    command.args(["-m", "memray", "run", "-q", "--native", "--trace-python-allocators", "-o"]).arg(&file).arg(script);
    run(&mut command)?;
    let stats = [python.into(), "-m".into(), "memray".into(), "stats".into(), file.into()];
    show("memray stats", time(bench, &stats)?);
    Ok(())
}

fn record(bench: &Bench, mut profiler: Command) -> Result<()> {
    run(profiler.args(&bench.command).envs(bench.environment.iter().copied())).map(|_| ())
}

fn show(name: &str, used: Metered) {
    let (wall, cpu) = (used.wall.as_secs_f64(), used.cpu.as_secs_f64());
    println!("{name:<34}{wall:>10.3}{cpu:>10.3}{:>10.1}", used.peak_kib as f64 / KIB);
}

/// The run with the median wall time.
fn time(bench: &Bench, command: &[OsString]) -> Result<Metered> {
    let mut runs = (0..bench.runs).map(|_| once(bench, command)).collect::<Result<Vec<_>>>()?;
    runs.sort_by_key(|used| used.wall);
    Ok(runs[runs.len() / 2])
}

/// Runs a command below `meter`.
///
/// # Errors
/// It fails.
pub fn once(bench: &Bench, command: &[OsString]) -> Result<Metered> {
    let files = files(&bench.directory);
    let mut meter = Command::new(&bench.meter);
    meter.arg(&files.report).arg(&files.output).args(command);
    let what = command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    Ok(measure::run(&mut meter, &what, &files, || Ok(()))?.target)
}

/// Where [`once`] leaves the output.
pub fn files(directory: &Path) -> Files {
    Files::in_directory(directory)
}
