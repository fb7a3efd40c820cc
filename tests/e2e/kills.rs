//! `kill -9` at random moments, of the program, of tmq, of both: what was committed is there and agrees with itself.
//!
//! `TMQ_KILLS=N` sets the number of kills (default 12; the acceptance run uses 50).

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Recording, run, scratch, tmq, workload};

/// The process that `tmq record` with this process id started; waits for it, as a busy machine takes its time.
fn started_by(tmq: u32) -> String {
    for _ in 0..1000 {
        let found = run(Command::new("pgrep").args(["-P", &tmq.to_string()]));
        let found = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        if !found.is_empty() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the program was not started in ten seconds");
}

/// Starts a recording of an endless allocation storm, kills what `whom` says after `delay`, repairs if need be.
fn kill_and_open(whom: &str, delay: Duration) -> i64 {
    let dir = scratch("kill").join("run.tmq");
    let program = workload("endless.c");
    let mut child = tmq()
        .args(["record", "-q", "-o"])
        .arg(&dir)
        .arg("--")
        .arg(&program)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let target = started_by(child.id());
    std::thread::sleep(Duration::from_millis(100) + delay);
    let pids: Vec<String> = match whom {
        "target" => vec![target],
        "tmq" => vec![child.id().to_string()],
        _ => vec![target, child.id().to_string()],
    };
    run(Command::new("kill").arg("-9").args(&pids));
    let status = child.wait().unwrap();
    if whom == "target" {
        assert_eq!(status.code(), Some(137));
    } else {
        let refused = run(tmq().args(["top"]).arg(&dir));
        assert!(!refused.status.success());
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(message.contains("tmq repair"), "{message}");
        let repaired = run(tmq().arg("repair").arg(&dir));
        assert!(repaired.status.success(), "{}", String::from_utf8_lossy(&repaired.stderr));
        run(Command::new("pkill").arg("-9").arg("-f").arg(program.to_str().unwrap()));
    }
    let recording = Recording::at(dir);
    recording.check_consistency();
    recording.check_nothing_lost();
    // Each thread of the storm holds at most one block of its loop, so every free found its allocation.
    let live =
        recording.integer("select count(*) from allocations where free_ns is null and size between 1000 and 1063");
    assert!(live <= 4, "{live} blocks live at the kill");
    recording.number("allocations")
}

#[test]
fn random_kills() {
    let n: u64 = std::env::var("TMQ_KILLS").ok().and_then(|v| v.parse().ok()).unwrap_or(12);
    let mut allocations = 0;
    for i in 0..n {
        let whom = ["target", "tmq", "both"][i as usize % 3];
        allocations += kill_and_open(whom, Duration::from_millis(i * 7919 % 400));
    }
    assert!(allocations > 1000);
    println!("{n} kills, {allocations} allocations in all");
}
