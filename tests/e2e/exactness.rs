//! Totals equal Valgrind's to the last byte, and `tmq top` names what a person would name.

use std::process::Command;

use crate::support::{record_with, run, scratch, tmq, workload};

/// Tables of hashes grow by chance: one run of perl in a hundred makes a hundred allocations less.
const SEEDS: [(&str, &str); 2] = [("PYTHONHASHSEED", "0"), ("PERL_HASH_SEED", "0")];

/// What Valgrind adds to the environment: programs keep it in tables, which grow with their number.
const OF_VALGRIND: [(&str, &str); 3] =
    [("LD_LIBRARY_PATH", "/usr/lib/debug"), ("GLIBCPP_FORCE_NEW", "1"), ("GLIBCXX_FORCE_NEW", "1")];

/// `total heap usage: A allocs, F frees, B bytes allocated` of a program.
///
/// Programs read their environment and size tables by the libraries they load, so Valgrind gets the same: tmq's preload
/// library (inactive without a region) and variables of the same length, `added`.
fn valgrind(command: &[String], added: &[(&str, String)]) -> (i64, i64) {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--run-libc-freeres=no").args(command).env_remove("LD_LIBRARY_PATH");
    valgrind.envs(added.iter().map(|(name, value)| (name, value))).envs(SEEDS);
    let text = String::from_utf8(run(&mut valgrind).stderr).unwrap();
    let line = text.lines().find(|l| l.contains("total heap usage:")).unwrap_or_else(|| panic!("{text}"));
    let numbers: Vec<i64> = line
        .split("usage:")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .filter_map(|word| word.replace(',', "").parse().ok())
        .collect();
    (numbers[0], numbers[2])
}

/// What `tmq` adds to the environment of a recorded program, with the name of a region that there is not.
fn added_variables() -> [(&'static str, String); 2] {
    let recording = record_with(&["-q"], &["sh", "-c", "echo $LD_PRELOAD $TMQ_REGION"]);
    let text = String::from_utf8(recording.output.stdout).unwrap();
    let (preload, region) = text.trim().split_once(' ').unwrap();
    // Process numbers have more digits from time to time, seldom between this recording and the one before.
    [("LD_PRELOAD", preload.to_owned()), ("TMQ_REGION", region.replace(|c: char| c.is_ascii_digit(), "0"))]
}

fn compare(command: &[&str]) {
    let (ours, theirs) = totals(command);
    assert_eq!(ours, theirs, "(allocations, bytes) of {command:?}: tmq, valgrind");
}

/// Records a command, checks that it ran as ever, and gives (allocations, bytes) by tmq and by Valgrind.
fn totals(command: &[&str]) -> ((i64, i64), (i64, i64)) {
    let command: Vec<String> = command.iter().map(ToString::to_string).collect();
    let mut tmq_record = tmq();
    let dir = scratch("exact").join("run.tmq");
    tmq_record.arg("record").arg("-q").arg("-o").arg(&dir).arg("--").args(&command).envs(SEEDS).envs(OF_VALGRIND);
    let recorded = run(&mut tmq_record);
    let bare = run(Command::new(&command[0]).args(&command[1..]).envs(SEEDS));
    assert_eq!(recorded.stdout, bare.stdout, "output of {command:?} changed");
    assert_eq!(recorded.status.code(), bare.status.code(), "status of {command:?} changed");
    let recording = crate::support::Recording::at(dir);
    recording.check_consistency();
    recording.check_nothing_lost();
    let ours = (recording.number("allocations"), recording.number("bytes_allocated"));
    (ours, valgrind(&command, &added_variables()))
}

fn json_file() -> String {
    let path = scratch("json").join("big.json");
    let row = |i: u32| format!(r#"{{"id":{i},"name":"user{i}","tags":["a{}","b{}"],"x":{}.5}}"#, i % 7, i % 13, i * 3);
    let rows: Vec<String> = (0..20_000).map(row).collect();
    std::fs::write(&path, format!("[{}]", rows.join(","))).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn jq() {
    compare(&["jq", ".", &json_file()]);
}

#[test]
fn sqlite3() {
    let sql = "create table t(a integer primary key, b text); \
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) \
        insert into t select i, 'name' || i from n; create index ix on t(b); select count(*), max(b) from t;";
    compare(&["sqlite3", ":memory:", sql]);
}

/// perl copies its environment, in which Valgrind has variables of its own and a longer LD_PRELOAD: a few small blocks.
#[test]
fn perl() {
    let script = r#"my %h; $h{"k".($_ % 3000)}{"v$_"} = "x" x ($_ % 50) for 1..30000; print scalar keys %h"#;
    let (ours, theirs) = totals(&["perl", "-e", script]);
    assert!((ours.0 - theirs.0).abs() <= 20 && (ours.1 - theirs.1).abs() <= 2000, "tmq {ours:?}, valgrind {theirs:?}");
}

#[test]
fn python() {
    // A debian python without site packages: pyenv's start-up files differ with every package installed.
    compare(&["/usr/bin/python3", "-I", "-S", "-c", "x = [str(i) * 3 for i in range(50000)]; print(len(''.join(x)))"]);
}

#[test]
fn threads() {
    let program = workload("producers.cpp");
    compare(&[program.to_str().unwrap()]);
}

/// The peak of a single-threaded program equals Massif's, to the byte.
#[test]
fn peak_equals_massif() {
    let file = json_file();
    let out = scratch("massif").join("massif.out");
    let status = run(Command::new("valgrind")
        .args(["--tool=massif", "--heap-admin=0", "--alignment=16", "--peak-inaccuracy=0.0"])
        .arg(format!("--massif-out-file={}", out.display()))
        .args(["jq", ".", &file]));
    assert!(status.status.success());
    let text = std::fs::read_to_string(&out).unwrap();
    let peak: i64 =
        text.lines().filter_map(|l| l.strip_prefix("mem_heap_B=")).map(|n| n.parse().unwrap()).max().unwrap();
    let recording = record_with(&["-q"], &["jq", ".", &file]);
    assert_eq!(recording.number("peak_bytes"), peak);
}

/// Whom a person reading the source would name.
#[test]
fn top_names_the_functions() {
    let program = workload("producers.cpp");
    let recording = record_with(&["-q"], &[&program]);
    let top = run(tmq().arg("top").arg(&recording.dir));
    let text = String::from_utf8(top.stdout).unwrap();
    let first = text.lines().take(6).collect::<Vec<_>>().join("\n");
    assert!(first.contains("produce") || first.contains("keep"), "{text}");
    assert!(!first.contains("operator new") && !first.contains("_M_"), "{text}");
}
