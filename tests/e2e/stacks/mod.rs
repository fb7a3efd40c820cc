//! Stacks compared with other unwinders: random call trees under `--verify=1` (which unwinds every stack again without
//! cache and with framehop) and gdb's backtrace at random stops; many distinct and very deep stacks.
//!
//! `TMQ_FUZZ_STACKS=N` sets the number of stacks to reach (default 200,000; 10,000,000 takes about 15 minutes).

mod programs;

use std::process::Command;

use crate::support::{record_with, run, scratch, workload, workload_with};

/// Ways to compile random C and C++ programs.
const COMPILERS: [&[&str]; 6] = [
    &["-O0"],
    &["-O2", "-fno-builtin"],
    &["-O2", "-fno-builtin", "-fno-omit-frame-pointer"],
    &["-O3", "-fno-builtin", "-mavx2"],
    &["-O2", "-fno-builtin", "-no-pie"],
    &["-Os", "-fno-builtin", "-fno-plt"],
];
const RUST_COMPILERS: [&[&str]; 3] = [&["-O"], &["-Copt-level=0"], &["-O", "-Cforce-frame-pointers=yes"]];

/// Walks through a random program: some 70 stacks each.
const WALKS: u32 = 1000;

/// The command that runs the random program of a seed.
fn random_program(seed: u64) -> Vec<String> {
    let dir = scratch("random");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let program = path("program");
    if seed.is_multiple_of(5) {
        std::fs::write(path("program.rs"), programs::rust(seed, WALKS)).unwrap();
        let flags = RUST_COMPILERS[(seed / 5) as usize % RUST_COMPILERS.len()];
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition=2024", "-Awarnings", "-g"]).args(flags).arg("-o").arg(&program).arg(path("program.rs"));
        succeeds(&mut rustc);
        return vec![program];
    }
    let is_cpp = seed.is_multiple_of(2);
    let source = path(if is_cpp { "program.cpp" } else { "program.c" });
    std::fs::write(&source, programs::c(seed, WALKS, is_cpp)).unwrap();
    let flags = COMPILERS[seed as usize % COMPILERS.len()];
    let compiler = if is_cpp { "c++" } else { "cc" };
    succeeds(Command::new(compiler).arg("-w").args(flags).arg(&source).arg("-o").arg(&program).arg("-ldl"));
    let mut command = vec![program];
    for (name, seed) in [("first", seed), ("second", seed + (1 << 32))] {
        let (source, library) = (path(&format!("{name}.c")), path(&format!("{name}.so")));
        std::fs::write(&source, programs::library(seed)).unwrap();
        succeeds(Command::new("cc").args(flags).args(["-w", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source));
        command.push(library);
    }
    command
}

fn succeeds(command: &mut Command) {
    let output = run(command);
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn random_call_trees() {
    let goal: i64 = std::env::var("TMQ_FUZZ_STACKS").ok().and_then(|v| v.parse().ok()).unwrap_or(200_000);
    let (mut verified, mut seed) = (0, 1u64);
    // At least one round of all compilers and languages.
    while verified < goal || seed <= 10 {
        let command = random_program(seed);
        // A comparison leaves the whole stack behind, as if it had been walked: between others nothing but what is
        // remembered decides.
        let every = if seed.is_multiple_of(2) { "--verify=3" } else { "--verify=1" };
        let recording = record_with(&["-q", every], &command);
        assert_eq!(recording.output.stdout, b"done\n", "seed {seed} {command:?}");
        recording.check_nothing_lost();
        let odd = recording
            .sql("select quality, count(*) as n from stacks where quality not in ('complete') group by quality");
        assert!(odd.is_empty(), "seed {seed} {command:?}: {odd:?}");
        verified += recording.integer("select cast(value as bigint) from metadata where key = 'verified'");
        seed += 1;
    }
    println!("{verified} stacks of {} programs verified, no mismatch", seed - 1);
}

/// gdb stops a recorded program in the real allocator and sees the same functions that tmq records.
#[test]
fn gdb_sees_the_same_callers() {
    let program = workload_with("stacks.c", &["-O0"]);
    let recording = record_with(&["-q"], &[&program]);
    let ours: Vec<String> = recording
        .sql(
            "select string_agg(g.function, ' ' order by f.position) as path from stack_frames f \
             join frames g on g.frame_id = f.frame_id group by f.stack_id",
        )
        .iter()
        .map(|row| row["path"].as_str().unwrap().to_owned())
        .collect();
    let mut gdb = Command::new("gdb");
    gdb.args(["-batch", "-nx", "-ex", "set confirm off", "-ex", "set debuginfod enabled off", "-ex", "break leaf"]);
    gdb.args(["-ex", "run"]);
    for _ in 0..40 {
        gdb.args([
            "-ex",
            "ignore 1 97",
            "-ex",
            "continue",
            "-ex",
            "bt -frame-info location-and-address",
            "-ex",
            "echo END\\n",
        ]);
    }
    let text = String::from_utf8_lossy(&run(gdb.arg(&program)).stdout).into_owned();
    let mut compared = 0;
    for block in text.split("END\n") {
        let frames: Vec<&str> = block
            .lines()
            .filter(|l| l.starts_with('#'))
            .filter_map(|l| l.split(" in ").last()?.split_whitespace().next())
            .take_while(|f| *f != "main")
            .collect();
        if frames.first() == Some(&"leaf") {
            let wanted = format!("{} main", frames.join(" "));
            let found = ours.iter().any(|path| path.starts_with(&wanted));
            let through_libc = frames.iter().any(|f| f.contains("msort") || f.contains("qsort"));
            assert!(found || through_libc, "gdb: {wanted}\ntmq: {ours:#?}");
            compared += usize::from(found);
        }
    }
    assert!(compared >= 20, "gdb gave {compared} backtraces:\n{text}");
}

/// 100,000 distinct stacks.
#[test]
fn many_stacks() {
    let recording = record_with(&["-q"], &[workload("many_stacks.c")]);
    assert!(recording.integer("select count(*) from stacks where depth > 15") >= 100_000);
    recording.check_nothing_lost();
    let top = run(crate::support::tmq().arg("top").arg(&recording.dir).args(["-g", "traceback", "-n", "3"]));
    assert!(top.status.success() && String::from_utf8_lossy(&top.stdout).contains("many_stacks.c"));
}

/// Recursion 5,000 deep with an allocation at every level.
#[test]
fn deep_recursion() {
    let recording = record_with(&["-q"], &[workload("deep.c")]);
    assert!(recording.integer("select max(depth) from stacks") > 5000);
    recording.check_nothing_lost();
    let top = run(crate::support::tmq().arg("top").arg(&recording.dir));
    let text = String::from_utf8_lossy(&top.stdout).into_owned();
    assert!(top.status.success() && text.contains("descend"), "{text}");
}
