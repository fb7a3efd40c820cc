//! Processes: forks, execs, and ends.

use std::process::Command;

use super::{long, same, same_with};
use crate::support::{run, scratch, shell_status, tmq, workload};

#[test]
fn forks_from_threads() {
    let rounds = if long() { "1000" } else { "60" };
    let recording = same("fork_storm.c", &[rounds, if long() { "32" } else { "8" }]);
    assert_eq!(recording.number("processes"), rounds.parse::<i64>().unwrap() + 1);
    let per_child = "select count(*) from processes where origin = 'fork' and allocations <> 100";
    assert_eq!(recording.integer(per_child), 0);
    assert_eq!(recording.integer("select count(*) from processes where origin = 'fork' and foreign_frees <> 1"), 0);
}

#[test]
fn forks_that_are_not_followed() {
    let program = workload("fork_storm.c");
    let recording = same_with(&["--verify=1", "--no-follow"], &[program.to_str().unwrap(), "60", "4"]);
    recording.check_nothing_lost();
    assert_eq!(recording.number("processes"), 1);
    assert_eq!(recording.blocks_between(1000, 1059), 60);
    assert_eq!(recording.left_between(1000, 1059), 0);
}

/// Sampled, a thread may meet its first sample only in a child: what it has from its parent is not its own.
#[test]
fn forks_under_sampling() {
    let program = workload("fork_storm.c");
    for interval in ["64", "4K"] {
        let recording = same_with(&["--sample", interval], &[program.to_str().unwrap(), "60", "2"]);
        recording.check_nothing_lost();
        assert_eq!(recording.lost("unresolved_stacks"), 0);
        assert_eq!(recording.number("processes"), 61);
        // A child allocates 100 blocks of less than 100 bytes, and nothing of its parent's sizes.
        let strange = "select count(*) from allocations a join processes p on a.process_id = p.process_id \
            where p.origin = 'fork' and a.size >= 100";
        assert_eq!(recording.integer(strange), 0);
    }
}

#[test]
fn forks_in_many_threads() {
    let rounds = if long() { 300 } else { 18 };
    let recording = same("thread_forks.c", &["8", &rounds.to_string()]);
    assert_eq!(recording.blocks_between(600, 607), 8 * rounds);
    // Children that are killed or execute something end with what they had from their parent.
    let parent = "process_id = (select min(process_id) from processes)";
    let left = "select count(*) from allocations where size between 600 and 607 and free_ns is null";
    assert_eq!(recording.integer(&format!("{left} and {parent}")), 0);
    let forks = recording.integer("select count(*) from processes where origin = 'fork'");
    assert!(forks >= 8 * rounds / 3, "{forks}");
    assert_eq!(recording.integer("select count(*) from processes where origin = 'exec'"), 8 * rounds / 3 * 2);
}

#[test]
fn children_in_shared_memory() {
    let recording = same("shared_memory_child.c", &[]);
    // What such a child makes belongs to the process whose memory it is.
    assert_eq!(recording.number("processes"), 1);
    assert_eq!((recording.blocks_of(701), recording.blocks_of(702), recording.blocks_of(703)), (40, 10, 50));
    assert_eq!(recording.left_between(701, 703), 0);
    assert_eq!(recording.blocks_between(60, 69), 4000);
}

#[test]
fn a_chain_of_execs() {
    let recording = same("exec_chain.c", &[]);
    // 6 to 1 are recorded; the last image has no environment, and so no recorder.
    assert_eq!(recording.number("processes"), 6);
    assert_eq!(recording.blocks_between(1201, 1206), 6);
    assert_eq!(recording.blocks_of(1300), 3);
    assert_eq!(recording.blocks_of(1200), 0);
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

/// As an ordinary user: what gains rights is refused with the reason, and runs as ever where a recorded program starts it.
#[test]
fn programs_that_gain_rights() {
    let dir = scratch("rights");
    let open = || run(Command::new("chmod").args(["-R", "a+rwX"]).arg(&dir));
    let home = std::env::temp_dir().join(format!("tmq-rights-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    let binary = home.join("tmq");
    std::fs::copy(tmq().get_program(), &binary).unwrap();
    run(Command::new("chmod").args(["-R", "a+rwX"]).arg(&home));
    open();
    let as_nobody = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "env", "-i", "PATH=/usr/bin:/bin"]);
        run(command.arg(format!("HOME={}", home.display())).args(words).current_dir(&home))
    };
    let binary = binary.display().to_string();
    let refused = as_nobody(&[&binary, "record", "--", "/usr/bin/passwd", "--status"]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    let bare = as_nobody(&["sh", "-c", "/usr/bin/passwd --status; echo $?"]);
    let recorded =
        as_nobody(&[&binary, "record", "-q", "-o", "run.tmq", "--", "sh", "-c", "/usr/bin/passwd --status; echo $?"]);
    std::fs::remove_dir_all(&home).unwrap();
    assert_eq!(shell_status(refused.status), 3, "{message}");
    assert!(message.contains("setuid"), "{message}");
    assert_eq!(String::from_utf8_lossy(&recorded.stdout), String::from_utf8_lossy(&bare.stdout));
    assert_eq!(String::from_utf8_lossy(&recorded.stderr), String::from_utf8_lossy(&bare.stderr));
}
