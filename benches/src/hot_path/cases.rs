//! The stacks that are measured, and one run of each.
//!
//! Callgrind runs below `tmq record`: the launcher of Valgrind is a static program, which tmq passes over, and what runs
//! inside is recorded into the same shared memory and drained as ever. The program (`programs/frames.c`) is linked with
//! an allocator that does nothing (`programs/noop.c`), which is the next definition of malloc behind the preload library.
//! Every case runs twice with different numbers of pairs: in the difference, start and end of the process cancel out.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::callgrind;
use super::stages::{self, Stages};
use crate::error::{Error, Result, in_file};
use crate::programs;

/// Pairs of the two runs of a case: enough that chunks of shared memory change some dozen times.
const PAIRS: [u32; 2] = [5_000, 25_000];
/// Bytes of a block in `frames.c`; tells its mallocs from those of the C library's start.
const BLOCK: u32 = 64;
/// Average bytes between samples. With so few bytes per pair, what is counted is the path of what is not sampled.
const INTERVAL: &str = "512K";
/// How many times more pairs a sampled case has: so many that samples fall among them, which shows that it sampled.
const MORE_SAMPLED: u32 = 4;

/// A stack, and how it changes from malloc to malloc.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Column of the table.
    pub name: &'static str,
    depth: u32,
    fresh: u32,
    positions: u32,
    sampled: bool,
}

/// More places of the stack than stacks that a thread remembers.
const MANY: u32 = 1000;

const fn case(name: &'static str, depth: u32, fresh: u32) -> Case {
    Case { name, depth, fresh, positions: MANY, sampled: false }
}

const fn seen(name: &'static str, depth: u32, fresh: u32) -> Case {
    Case { name, depth, fresh, positions: 1, sampled: false }
}

/// All cases, in the order of the table's columns. Sixteen fresh frames need a deeper stack: six frames never change.
pub const CASES: &[Case] = &[
    case("same-6", 6, 0),
    case("same-16", 16, 0),
    case("same-32", 32, 0),
    case("1-of-16", 16, 1),
    case("4-of-16", 16, 4),
    case("10-of-16", 16, 10),
    case("16-of-32", 32, 16),
    seen("4-seen", 16, 4),
    seen("10-seen", 16, 10),
    Case { name: "sampled-16", depth: 16, fresh: 0, positions: 1, sampled: true },
];

/// Instructions per pair of every case.
///
/// # Errors
/// A program fails, or what it recorded is not what it did.
pub fn count_all() -> Result<Vec<(&'static str, Stages)>> {
    let scratch = tempfile::tempdir().map_err(Error::System)?;
    let bench = Bench::prepare(scratch.path())?;
    let mut all = Vec::new();
    for case in CASES {
        eprintln!("{}", case.name);
        let pairs = PAIRS.map(|n| if case.sampled { n * MORE_SAMPLED } else { n });
        let (fewer, more) = (bench.run(case, pairs[0])?, bench.run(case, pairs[1])?);
        let pairs = f64::from(pairs[1] - pairs[0]);
        let per_pair = (more.recorded - fewer.recorded) / pairs;
        if case.sampled {
            let some = if more.recorded > 0.0 { 1.0 } else { 0.0 };
            bench.expect(case, "whether anything was sampled", some, 1.0)?;
        } else {
            bench.expect(case, "recorded allocations per pair", per_pair, 1.0)?;
        }
        let of = |stages: &Stages, row: &str| stages.get(row).copied().unwrap_or(0.0);
        let rows =
            more.stages.keys().map(|row| (row.clone(), (of(&more.stages, row) - of(&fewer.stages, row)) / pairs));
        all.push((case.name, rows.collect()));
    }
    Ok(all)
}

struct Run {
    stages: Stages,
    recorded: f64,
}

struct Bench {
    tmq: PathBuf,
    program: PathBuf,
    directory: PathBuf,
}

impl Bench {
    fn prepare(directory: &Path) -> Result<Self> {
        let allocator = programs::compile(
            "noop",
            &directory.join("libnoop.so"),
            &["-shared", "-fPIC", "-ftls-model=initial-exec"].map(OsStr::new),
        )?;
        let program = directory.join("frames");
        programs::compile("frames", &program, &[OsStr::new("-Wl,--no-as-needed"), allocator.as_os_str()])?;
        Ok(Self { tmq: programs::tmq()?, program, directory: directory.to_owned() })
    }

    fn run(&self, case: &Case, pairs: u32) -> Result<Run> {
        let (recording, profile) = (self.directory.join("run.tmq"), self.directory.join("profile"));
        let mut command = Command::new(&self.tmq);
        command.args(["record", "--quiet", "--anyway", "--force", "-o"]).arg(&recording).env_remove("LD_PRELOAD");
        if case.sampled {
            command.args(["--sample", INTERVAL]);
        }
        command.args(["--", "valgrind", "--quiet", "--tool=callgrind", "--dump-instr=yes", "--compress-pos=no"]);
        command.args(["--compress-strings=no".into(), format!("--callgrind-out-file={}", profile.display())]);
        command.arg(&self.program).args([pairs, case.depth, case.fresh, case.positions].map(|n| n.to_string()));
        programs::run(&mut command)?;
        let info = programs::info(&self.tmq, &recording)?;
        self.expect(case, "lost events", programs::number(&info, "lost_events")?, 0.0)?;
        if !case.sampled {
            self.check_depth(case, pairs, &recording)?;
        }
        let text = fs::read_to_string(&profile).map_err(in_file(&profile))?;
        let recorded = programs::number(&info, "allocations")?;
        Ok(Run { stages: stages::sum(callgrind::parse(&text)?), recorded })
    }

    /// All stacks are as deep as the case says, and there are two if it has fresh frames.
    fn check_depth(&self, case: &Case, pairs: u32, recording: &Path) -> Result<()> {
        let query = format!(
            "select count(*), min(depth), max(depth), count(distinct stack_id) \
             from allocations join stacks using (stack_id) where size = {BLOCK}"
        );
        let mut command = Command::new(&self.tmq);
        let output = programs::run(command.args(["sql", "--format", "csv", "-r"]).arg(recording).arg(query))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let stacks = if case.fresh == 0 { 1 } else { 2 };
        match text.lines().nth(1) == Some(&format!("{pairs},{},{},{stacks}", case.depth, case.depth)) {
            true => Ok(()),
            false => Err(programs::not_understood(&format!("the stacks of {}", case.name), &text)),
        }
    }

    fn expect(&self, case: &Case, measure: &'static str, got: f64, expected: f64) -> Result<()> {
        match got == expected {
            true => Ok(()),
            false => Err(Error::NotAsExpected { what: case.name.to_owned(), measure, got, expected, slack: 0.0 }),
        }
    }
}
