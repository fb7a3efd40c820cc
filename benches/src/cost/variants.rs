//! Ways to run a workload: bare and under each profiler, and how to tell that the profiler did its work.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::workloads::Workload;
use crate::error::{Error, Result, in_file};
use crate::measure::{self, Files, METER, Usage};
use crate::programs::{self, not_understood};

/// Average bytes between samples of both samplers.
const INTERVAL: u64 = 512 << 10;
/// The same as jemalloc's logarithm.
const LG_INTERVAL: u32 = INTERVAL.ilog2();
/// Standard errors by which a sampled total may be off: one run in a million would be by chance.
const SIGMAS: f64 = 5.0;
/// Names jemalloc's library and overrides where it is looked for.
const JEMALLOC_VARIABLE: &str = "TMQ_BENCH_JEMALLOC";
const JEMALLOC_LIBRARY: &str = "libjemalloc.so.2";
const LIBRARY_DIRECTORIES: &[&str] = &["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"];

/// A way to run a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// As a user runs it.
    Bare,
    /// `tmq record`.
    TmqExact,
    /// `tmq record --sample 512K`.
    TmqSampled,
    /// `heaptrack`, which is always exact.
    Heaptrack,
    /// On jemalloc without profiling, what its profiling is compared with.
    Jemalloc,
    /// jemalloc's sampler, 512 KiB, with the dump at the end.
    JemallocProfiling,
}

impl Variant {
    /// All, in the order of the table.
    pub const ALL: [Self; 6] =
        [Self::Bare, Self::TmqExact, Self::TmqSampled, Self::Heaptrack, Self::Jemalloc, Self::JemallocProfiling];

    /// As the table shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::TmqExact => "tmq exact",
            Self::TmqSampled => "tmq sampled 512K",
            Self::Heaptrack => "heaptrack",
            Self::Jemalloc => "jemalloc",
            Self::JemallocProfiling => "jemalloc prof 512K",
        }
    }

    /// Whether it is a sampler, or what one is compared with.
    pub fn is_for_samplers(self) -> bool {
        !matches!(self, Self::TmqExact | Self::Heaptrack)
    }

    /// What its cost is added to: a profiler that brings its own allocator is compared with that allocator.
    pub fn reference(self) -> Self {
        if self == Self::JemallocProfiling { Self::Jemalloc } else { Self::Bare }
    }
}

/// Where the profilers are.
#[derive(Debug)]
pub struct Peers {
    tmq: PathBuf,
    meter: PathBuf,
    counter: PathBuf,
    heaptrack: Option<PathBuf>,
    jemalloc: Option<PathBuf>,
}

impl Peers {
    /// Looks for all of them and compiles what belongs to the measurement. The second value says what is missing, and
    /// how to install it.
    ///
    /// # Errors
    /// tmq or the C compiler is missing.
    pub fn find(directory: &Path) -> Result<(Self, Vec<String>)> {
        let mut missing = Vec::new();
        let heaptrack = programs::find("heaptrack");
        if heaptrack.is_none() {
            missing.push("heaptrack is not installed (Debian: apt-get install heaptrack)".to_owned());
        }
        let jemalloc = jemalloc(directory).map_err(|reason| missing.push(reason)).ok();
        let peers = Self {
            tmq: programs::tmq()?,
            meter: programs::compile("meter", &directory.join(METER), &["-static".as_ref()])?,
            counter: programs::compile(
                "count",
                &directory.join("libcount.so"),
                &["-shared".as_ref(), "-fPIC".as_ref(), "-ldl".as_ref()],
            )?,
            heaptrack,
            jemalloc,
        };
        Ok((peers, missing))
    }

    /// Whether this way to run is possible here.
    pub fn has(&self, variant: Variant) -> bool {
        match variant {
            Variant::Heaptrack => self.heaptrack.is_some(),
            Variant::Jemalloc | Variant::JemallocProfiling => self.jemalloc.is_some(),
            _ => true,
        }
    }

    /// Counts what a workload allocates, and keeps its output as the one that all others must have.
    ///
    /// # Errors
    /// The workload fails.
    pub fn count(&self, workload: &Workload, directory: &Path) -> Result<Expected> {
        let counts = directory.join("counts");
        let files = Files::in_directory(directory);
        let mut command = Command::new(&self.meter);
        command.arg(&files.report).arg(&files.output).args(&workload.command);
        command.env("LD_PRELOAD", &self.counter).env("COUNT_FILE", &counts).envs(workload.environment.iter().copied());
        measure::run(&mut command, workload.name, &files, || drive(workload))?;
        let text = fs::read_to_string(&counts).map_err(in_file(&counts))?;
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let &[allocations, bytes] = numbers.as_slice() else { return Err(not_understood("counts", &text)) };
        let output = fs::read(&files.output).map_err(in_file(&files.output))?;
        Ok(Expected { allocations, bytes, output })
    }

    /// Runs a workload once and checks that it did what it does bare, and that the profiler saw all of it.
    ///
    /// # Errors
    /// The run fails or a check does.
    pub fn run(&self, variant: Variant, workload: &Workload, expected: &Expected, directory: &Path) -> Result<Run> {
        let run = directory.join("run");
        if run.exists() {
            fs::remove_dir_all(&run).map_err(in_file(&run))?;
        }
        fs::create_dir(&run).map_err(in_file(&run))?;
        let files = Files::in_directory(&run);
        let what = format!("{} of {}", variant.name(), workload.name);
        let mut command = self.command(variant, &run);
        command.arg(&self.meter).arg(&files.report).arg(&files.output).args(&workload.command);
        command.envs(workload.environment.iter().copied());
        let usage = measure::run(&mut command, &what, &files, || drive(workload))?;
        let output = fs::read(&files.output).map_err(in_file(&files.output))?;
        // What a server prints has its process id in it; its client has checked what it did.
        if workload.client.is_none() && output != expected.output {
            return Err(Error::OutputChanged { what });
        }
        let bytes_written = self.check(variant, &what, workload, expected, &run)?;
        Ok(Run { usage, bytes_written })
    }

    /// The profiler's part of the command line, up to the command that it is to run.
    fn command(&self, variant: Variant, run: &Path) -> Command {
        let starts_with = |program: &Path| Command::new(program);
        let mut command = match variant {
            Variant::Bare => return self.bare(),
            Variant::TmqExact | Variant::TmqSampled => {
                let mut command = starts_with(&self.tmq);
                // The program below is static, which tmq takes for a mistake.
                command.args(["record", "--quiet", "--anyway", "-o"]).arg(run.join("run.tmq"));
                if variant == Variant::TmqSampled {
                    command.arg("--sample").arg(INTERVAL.to_string());
                }
                command.arg("--");
                command
            }
            Variant::Heaptrack => {
                let mut command = starts_with(self.heaptrack.as_deref().unwrap_or(Path::new("heaptrack")));
                command.arg("-o").arg(run.join("heaptrack"));
                command
            }
            Variant::Jemalloc | Variant::JemallocProfiling => {
                let mut command = self.bare();
                command.env("LD_PRELOAD", self.jemalloc.as_deref().unwrap_or(Path::new(JEMALLOC_LIBRARY)));
                let profiling = variant == Variant::JemallocProfiling;
                command.env("MALLOC_CONF", if profiling { profile_to(run) } else { "prof:false".into() });
                return command;
            }
        };
        command.env_remove("LD_PRELOAD");
        command
    }

    /// `env`, which replaces itself by the command: whatever stands before `meter` costs the same everywhere.
    fn bare(&self) -> Command {
        let mut command = Command::new("env");
        command.env_remove("LD_PRELOAD");
        command
    }

    /// Checks what a profiler wrote; its size in bytes.
    fn check(&self, variant: Variant, what: &str, workload: &Workload, expected: &Expected, run: &Path) -> Result<u64> {
        let within = |measure, got: f64, expected: f64, slack: f64| match (got - expected).abs() <= slack {
            true => Ok(()),
            false => Err(Error::NotAsExpected { what: what.to_owned(), measure, got, expected, slack }),
        };
        let slack = workload.slack(expected.allocations);
        match variant {
            Variant::Bare | Variant::Jemalloc => Ok(0),
            Variant::TmqExact => {
                let (recording, info) = self.info(run)?;
                within("lost events", programs::number(&info, "lost_events")?, 0.0, 0.0)?;
                within("allocations", programs::number(&info, "allocations")?, expected.allocations, slack)?;
                programs::size_on_disk(&recording)
            }
            Variant::TmqSampled => {
                let (recording, info) = self.info(run)?;
                within("lost events", programs::number(&info, "lost_events")?, 0.0, 0.0)?;
                // One draw per interval, each of which stands for an interval.
                let interval = INTERVAL as f64;
                let error = SIGMAS * (expected.bytes.max(interval) * interval).sqrt();
                let error = error + expected.bytes * slack / expected.allocations.max(1.0);
                let bytes = programs::number(&info, "bytes_allocated")?;
                within("estimated bytes", bytes, expected.bytes, error)?;
                programs::size_on_disk(&recording)
            }
            Variant::Heaptrack => {
                let log = fs::read_to_string(run.join("log")).unwrap_or_default();
                let seen = log.lines().find_map(|line| line.trim().strip_prefix("allocations:")?.trim().parse().ok());
                let seen = seen.ok_or_else(|| not_understood("heaptrack's summary", &log))?;
                within("allocations", seen, expected.allocations, slack)?;
                only_file(run, |name| name.starts_with("heaptrack."))
            }
            Variant::JemallocProfiling => only_file(run, |name| name.ends_with(".heap")),
        }
    }

    fn info(&self, run: &Path) -> Result<(PathBuf, serde_json::Value)> {
        let recording = run.join("run.tmq");
        let info = programs::info(&self.tmq, &recording)?;
        Ok((recording, info))
    }
}

/// What a workload does when nobody looks.
#[derive(Debug)]
pub struct Expected {
    /// Allocations, by an independent count.
    pub allocations: f64,
    /// Bytes of them.
    pub bytes: f64,
    output: Vec<u8>,
}

/// A run that did what it should.
#[derive(Debug)]
pub struct Run {
    /// What it used.
    pub usage: Usage,
    /// What the profiler left on disk.
    pub bytes_written: u64,
}

fn drive(workload: &Workload) -> Result<()> {
    workload.client.as_ref().map_or(Ok(()), super::redis::Redis::drive)
}

/// Size of the one file whose name fits; a profiler that wrote nothing has not profiled.
fn only_file(run: &Path, fits: impl Fn(&str) -> bool) -> Result<u64> {
    let entries = fs::read_dir(run).map_err(in_file(run))?;
    let found = entries.flatten().find(|entry| fits(&entry.file_name().to_string_lossy()));
    let found = found.ok_or_else(|| not_understood("the profiler's output", "there is none"))?;
    programs::size_on_disk(&found.path())
}

/// jemalloc's options for sampling with a dump at the end.
fn profile_to(run: &Path) -> OsString {
    let mut options =
        OsString::from(format!("prof:true,prof_active:true,lg_prof_sample:{LG_INTERVAL},prof_final:true,prof_prefix:"));
    options.push(run.join("jemalloc"));
    options
}

/// A jemalloc that can profile; the reason if there is none.
fn jemalloc(directory: &Path) -> Result<PathBuf, String> {
    let named = std::env::var_os(JEMALLOC_VARIABLE).map(PathBuf::from);
    let installed =
        || LIBRARY_DIRECTORIES.iter().map(|dir| Path::new(dir).join(JEMALLOC_LIBRARY)).find(|p| p.is_file());
    let library = named.or_else(installed).ok_or_else(|| {
        format!(
            "{JEMALLOC_LIBRARY} is not installed (Debian: apt-get install libjemalloc2; {JEMALLOC_VARIABLE} names another)"
        )
    })?;
    let try_out = directory.join("jemalloc");
    fs::create_dir(&try_out).map_err(|e| e.to_string())?;
    let options = profile_to(&try_out);
    let ran = programs::run(Command::new("true").env("LD_PRELOAD", &library).env("MALLOC_CONF", options));
    match ran.and_then(|_| only_file(&try_out, |name| name.ends_with(".heap"))) {
        Ok(_) => Ok(library),
        Err(_) => Err(format!(
            "{} writes no profile: it was built without --enable-prof ({JEMALLOC_VARIABLE} names another)",
            library.display()
        )),
    }
}
