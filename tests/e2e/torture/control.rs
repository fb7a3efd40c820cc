//! Control that goes other ways than calls and returns: signals, jumps, exceptions, coroutines, the ends of threads.

use std::process::Command;

use super::{long, same, same_command};
use crate::support::{Recording, root, run, scratch, workload};

#[test]
fn signal_handlers() {
    for stack in ["own", "alternate"] {
        let recording = same("signals.c", &[stack]);
        let handler = "select count(*) from stack_frames f join frames g on g.frame_id = f.frame_id \
            where g.function = 'handler'";
        assert!(recording.integer(handler) > 0);
        // The interrupted program is on the stack below the handler.
        let both = "select count(*) from (select f.stack_id from stack_frames f join frames g on g.frame_id = f.frame_id \
            group by f.stack_id having bool_or(g.function = 'handler') and not bool_or(g.function = 'main'))";
        assert_eq!(recording.integer(both), 0, "{stack}");
    }
}

/// Runs the tracer, whose child is interrupted at single instructions of the recorder; the recording, and how often its
/// handler ran, which is how often it allocated.
fn interrupted(mode: &str, every: u32, options: &[&str]) -> (Recording, i64) {
    let counted = scratch("single-step").join("handled");
    let program = workload("single_step.c");
    let every = every.to_string();
    let command = [program.to_str().unwrap(), mode, &every, counted.to_str().unwrap()];
    let recording = super::same_with(options, &command);
    assert_eq!(recording.output.stdout, b"bad 0\n");
    (recording, std::fs::read_to_string(&counted).unwrap().trim().parse().unwrap())
}

#[test]
fn a_signal_at_every_instruction() {
    // Verification is ten times as many instructions.
    let short = [("once", 151, &[][..]), ("all", 1, &[])];
    let all = [("once", 3, &[][..]), ("all", 1, &[]), ("all", 1, &["--verify=1"])];
    for &(mode, every, options) in if long() { &all[..] } else { &short } {
        let (recording, handled) = interrupted(mode, every, options);
        assert!(handled >= 20, "{mode}: the handler ran {handled} times");
        recording.check_nothing_lost();
        assert_eq!(recording.blocks_of(777), handled, "{mode}");
        assert_eq!(recording.left_between(777, 777), 0, "{mode}");
        assert_eq!(recording.with_odd_stacks(), 0, "{mode}");
        // What was interrupted is recorded too: all that was made was freed, but for what was under way at the end.
        assert!(recording.left_between(778, 779) <= 1 && recording.left_between(3000, 3000) <= 1, "{mode}");
    }
}

/// While the recorder sets itself up, what handlers do may be missed, but never silently.
#[test]
fn a_signal_while_recording_starts() {
    let (recording, handled) = interrupted("first", if long() { 1 } else { 7 }, &[]);
    assert!(handled > 50, "the handler ran {handled} times");
    let lost = recording.lost("nested_signal");
    let freed = handled - recording.left_between(777, 777);
    let missed = 2 * handled - recording.blocks_of(777) - freed;
    assert!(lost >= missed.min(1) && lost <= 2 * handled, "{handled} handled, {missed} missed, {lost} counted");
    assert!(recording.blocks_of(777) + lost >= handled, "{handled} handled, {lost} lost");
}

#[test]
fn jumps_and_coroutines() {
    let recording = same("jumps.c", &[]);
    let of = |low: i64, high: i64| {
        recording
            .integer(&format!("select count(*) from allocations where size between {low} and {high} and domain = 0"))
    };
    assert_eq!(of(200, 209), 1000);
    assert_eq!(of(300, 300), 1000);
}

#[test]
fn coroutines_that_change_threads() {
    let recording = same("migrating.c", &[]);
    assert_eq!(recording.blocks_between(400, 407), 1600);
    // The last turn of each coroutine ends before its second half.
    assert_eq!(recording.blocks_between(410, 417), 1600 - 8);
    for size in [400, 413] {
        let paths = recording.paths_of(size);
        let all = paths.iter().all(|p| p.starts_with("inside ") && p.contains(" body"));
        assert!(paths.len() >= 7 && all, "{paths:?}");
    }
    assert_eq!(recording.with_odd_stacks(), 0, "{:?}", recording.sql("select * from losses"));
}

#[test]
fn exceptions_and_thread_locals() {
    same("exceptions.cpp", &[]);
}

#[test]
fn cancelled_threads_and_faults() {
    let recording = same("cancelled.c", &[]);
    assert_eq!(recording.blocks_between(800, 820), 20 * 8 * 21);
    assert_eq!(recording.left_between(800, 820), 0);
    assert_eq!(recording.blocks_of(91), 300);
    let faults = recording.paths_of(91);
    assert!(faults.iter().all(|p| p.starts_with("fault ") && p.contains(" touch_nothing main")), "{faults:?}");
}

#[test]
fn rust_panics() {
    let program = scratch("panics").join("panics");
    let mut rustc = Command::new("rustc");
    rustc.args(["-O", "-g", "--edition=2021", "-o"]).arg(&program).arg(root().join("tests/workloads/panics.rs"));
    let output = run(&mut rustc);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let recording = same_command(&[program.to_str().unwrap()]);
    assert_eq!(recording.left_between(100, 150), 0);
    let functions = recording.paths_of(140).join(" ");
    assert!(functions.contains("panics::descend"), "{functions}");
}

#[test]
fn short_threads_on_small_stacks() {
    let n = if long() { "100000" } else { "4000" };
    let recording = same("threads.c", &[n, "65536"]);
    assert_eq!(recording.integer("select count(*) from allocations where size = 33"), n.parse::<i64>().unwrap());
    same("threads.c", &["2000", "16384"]);
}

#[test]
fn memory_freed_at_the_end_of_threads() {
    let n = if long() { 100_000 } else { 2000 };
    let recording = same("late.cpp", &[&n.to_string()]);
    // Three keys per thread.
    assert_eq!(recording.blocks_of(337), 3 * n);
    assert_eq!((recording.blocks_of(333), recording.blocks_of(334)), (n, n));
    assert_eq!(recording.left_between(333, 337), 0);
    assert_eq!(recording.left_between(900, 900), 0);
    assert!(recording.left_between(338, 338) <= 4);
}
