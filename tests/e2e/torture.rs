//! The torture list: one small program per behaviour, bare and recorded with every stack verified. Output and status are
//! the same, nothing hangs, nothing is lost.
//!
//! Covered: allocation before and after main, dlopen and dlclose with reused addresses, fork (also raw) from threads,
//! vfork, posix_spawn, system, popen, exec of itself, nine ways to end, signal handlers that allocate on either stack,
//! longjmp, coroutines, exceptions, late TLS destructors, many short threads on small stacks, blocks that change threads,
//! every function's corner cases and errno, closed descriptors, daemons, address-space limits, seccomp, hard stacks.
//! Other allocators and languages are in `refusals`. Not covered: musl, LD_AUDIT and dlmopen namespaces, attach.
//!
//! `TMQ_TORTURE=long` runs the long forms (about 10 minutes).

use std::process::Command;

use crate::support::{Recording, record_with, run, shell_status, workload, workload_with};

fn long() -> bool {
    std::env::var("TMQ_TORTURE").is_ok_and(|v| v == "long")
}

/// Runs a workload bare and recorded; the recording.
fn same(name: &str, args: &[&str]) -> Recording {
    let program = workload(name);
    same_command(std::iter::once(program.to_str().unwrap()).chain(args.iter().copied()).collect())
}

fn same_command(command: Vec<&str>) -> Recording {
    let bare = run(Command::new(command[0]).args(&command[1..]));
    let recording = record_with(&["-q", "--verify=1"], &command);
    let recorded = &recording.output;
    assert_eq!(String::from_utf8_lossy(&recorded.stdout), String::from_utf8_lossy(&bare.stdout), "{command:?}");
    assert_eq!(String::from_utf8_lossy(&recorded.stderr), String::from_utf8_lossy(&bare.stderr), "{command:?}");
    assert_eq!(shell_status(recorded.status), shell_status(bare.status), "{command:?}");
    recording.check_consistency();
    recording.check_nothing_lost();
    recording
}

#[test]
fn before_and_after_main() {
    let recording = same("early.c", &[]);
    let of =
        |size: i64| recording.integer(&format!("select count(*) from allocations where size = {size} and domain = 0"));
    assert_eq!((of(22), of(77), of(78)), (1, 1, 1), "{:?}", recording.sql("select size from allocations"));
}

#[test]
fn reused_library_addresses() {
    let (a, b) = (workload("unload_a.c"), workload("unload_b.c"));
    let recording = same("unload.c", &[a.to_str().unwrap(), b.to_str().unwrap()]);
    for (size, function) in [(222, "allocate_in_library"), (444, "allocate_elsewhere_")] {
        let rows = recording.sql(&format!(
            "select f.function, count(*) as n from allocations a join stacks s on a.stack_id = s.stack_id \
             join frames f on f.frame_id = s.user_leaf_frame_id where a.size = {size} group by f.function"
        ));
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!((rows[0]["function"].as_str(), rows[0]["n"].as_i64()), (Some(function), Some(1000)), "{rows:?}");
    }
}

#[test]
fn forks_from_threads() {
    let rounds = if long() { "1000" } else { "60" };
    let recording = same("fork_storm.c", &[rounds]);
    assert_eq!(recording.number("processes"), rounds.parse::<i64>().unwrap() + 1);
    let per_child = "select count(*) from processes where origin = 'fork' and allocations <> 100";
    assert_eq!(recording.integer(per_child), 0);
    assert_eq!(recording.integer("select count(*) from processes where origin = 'fork' and foreign_frees <> 1"), 0);
}

#[test]
fn every_way_to_start_a_program() {
    let recording = same("spawn.c", &[]);
    assert_eq!(recording.integer("select count(*) from allocations where size = 4321"), 1);
    assert_eq!(recording.integer("select count(*) from allocations where size = 1234"), 1);
    assert!(recording.integer("select count(*) from processes where exe like '%echo'") >= 2);
}

#[test]
fn ways_to_end() {
    for way in ["abort", "kill", "segv", "term", "_exit", "quick_exit", "overflow", "thread_exit", "none"] {
        let recording = same("deaths.c", &[way]);
        assert!(recording.number("allocations") >= 1000, "{way}");
    }
}

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
fn exceptions_and_thread_locals() {
    same("exceptions.cpp", &[]);
}

#[test]
fn short_threads_on_small_stacks() {
    let n = if long() { "100000" } else { "4000" };
    let recording = same("threads.c", &[n, "65536"]);
    assert_eq!(recording.integer("select count(*) from allocations where size = 33"), n.parse::<i64>().unwrap());
    same("threads.c", &["2000", "16384"]);
}

#[test]
fn blocks_that_change_threads() {
    for threads in ["2", "8", "16"] {
        let recording = same("ping_pong.c", &[threads, if long() { "6000000" } else { "50000" }]);
        let left = "select count(*) from allocations where free_ns is null and domain = 0 and size < 4000 and kind <> 'calloc'";
        let rows = recording.sql(left);
        assert!(rows[0].as_object().unwrap().values().next().unwrap().as_i64().unwrap() <= 2, "{rows:?}");
    }
}

#[test]
fn corner_cases_and_errno() {
    let recording = same("semantics.c", &[]);
    // One row per call that gave a block; failed ones leave no trace; 8 GiB is kept whole.
    assert_eq!(recording.integer("select count(*) from allocations where size = 8589934592"), 1);
    assert_eq!(
        recording.integer("select count(*) from allocations where domain = 0 and free_ns is null and size = 100"),
        0
    );
    let maps = recording.sql("select size from allocations where domain = 1 order by size");
    let sizes: Vec<i64> = maps.iter().map(|r| r["size"].as_i64().unwrap()).collect();
    assert_eq!(sizes.iter().sum::<i64>(), (2 + 3 + 5 + 50) * 4096, "{sizes:?}");
}

#[test]
fn closed_descriptors_and_limits() {
    let recording = same("close_all.c", &[]);
    assert_eq!(recording.number("processes"), 2);
    same("address_limit.c", &[]);
}

#[test]
fn denied_system_calls() {
    let recording = same("seccomp.c", &[]);
    assert!(recording.number("allocations") >= 80_000);
    // Without /proc nothing is known about a thread's stack: the first frame is there, the rest is said to be missing.
    let broken =
        "select count(*) from allocations a join stacks s on a.stack_id = s.stack_id where s.quality = 'broken'";
    assert!(recording.integer(broken) >= 80_000);
}

#[test]
fn hard_stacks() {
    for flags in
        [&["-O0"][..], &["-O2", "-fomit-frame-pointer"], &["-O2", "-fno-omit-frame-pointer"], &["-O3", "-mavx2"]]
    {
        let program = workload_with("stacks.c", flags);
        let recording = same_command(vec![program.to_str().unwrap()]);
        let broken =
            recording.sql("select quality, count(*) as n from stacks where quality <> 'complete' group by quality");
        assert!(broken.is_empty(), "{flags:?} {broken:?}");
    }
    let recording = same("stacks.c", &["5000"]);
    assert!(recording.integer("select max(depth) from stacks") > 5000);
}
