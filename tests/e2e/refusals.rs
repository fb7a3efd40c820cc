//! What cannot be recorded is said, with a reason and an exit code; faults of the machine never harm the program.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Recording, compile, record, record_with, run, scratch, tmq, workload};

const HELLO: &str =
    "#include <stdio.h>\n#include <stdlib.h>\nint main(void) { free(malloc(10)); puts(\"hello\"); return 0; }\n";

/// Exit code for programs that cannot be recorded.
const CANNOT_RECORD: i32 = 3;

fn refused(command: &str, reason: &str) {
    let recording = record(&[command]);
    let message = String::from_utf8_lossy(&recording.output.stderr).into_owned();
    assert_eq!(recording.output.status.code(), Some(CANNOT_RECORD), "{message}");
    assert!(message.contains(reason), "{message}");
    assert!(!recording.dir.exists(), "nothing is left behind");
}

#[test]
fn programs_that_cannot_be_recorded() {
    refused(compile(HELLO, &["-static"]).to_str().unwrap(), "static");
    refused(compile(HELLO, &["-fsanitize=address"]).to_str().unwrap(), "sanitizer");
    // Root starts setuid programs like any other.
    if String::from_utf8_lossy(&run(Command::new("id").arg("-u")).stdout).trim() != "0" {
        refused("/usr/bin/passwd", "setuid");
    }
}

#[test]
fn programs_that_do_not_exist() {
    let recording = record(&["no-such-program-here"]);
    assert_eq!(recording.output.status.code(), Some(127));
    let recording = record(&["/etc/passwd"]);
    assert_eq!(recording.output.status.code(), Some(126));
}

#[test]
fn the_library_alone_is_harmless() {
    let seen = record_with(&["-q"], &["sh", "-c", "echo $LD_PRELOAD"]);
    let library = String::from_utf8(seen.output.stdout).unwrap();
    for program in ["jq --version", "perl -e print(1)", "sqlite3 --version", "ls /"] {
        let words: Vec<&str> = program.split(' ').collect();
        let bare = run(Command::new(words[0]).args(&words[1..]));
        let loaded = run(Command::new(words[0]).args(&words[1..]).env("LD_PRELOAD", library.trim()));
        assert_eq!((bare.stdout, bare.status.code()), (loaded.stdout, loaded.status.code()), "{program}");
        assert_eq!(bare.stderr, loaded.stderr, "{program}");
    }
}

#[test]
fn unwritable_and_existing_directories() {
    let occupied = scratch("occupied");
    std::fs::write(occupied.join("precious"), "data").unwrap();
    let output = run(tmq().arg("record").arg("-o").arg(&occupied).args(["--", "true"]));
    assert!(!output.status.success());
    assert_eq!(std::fs::read_to_string(occupied.join("precious")).unwrap(), "data");
    let output = run(tmq().args(["record", "-o", "/proc/nowhere/x.tmq", "--", "true"]));
    assert!(!output.status.success() && !output.stderr.is_empty());
}

/// tmq is stopped while the program runs at full speed: it ends as it would have, and the gap is counted.
#[test]
fn stopped_collector() {
    let dir = scratch("stopped").join("run.tmq");
    let program = workload("ping_pong.c");
    let mut child = tmq()
        .args(["record", "-q", "-o"])
        .arg(&dir)
        .arg("--")
        .arg(&program)
        .args(["4", "4000000"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let pid = child.id().to_string();
    let target = String::from_utf8_lossy(&run(Command::new("pgrep").args(["-P", &pid])).stdout).trim().to_owned();
    run(Command::new("kill").args(["-STOP", &pid]));
    let gone = || !std::path::Path::new(&format!("/proc/{target}/stat")).exists() || state(&target) == 'Z';
    let start = std::time::Instant::now();
    while !gone() {
        assert!(start.elapsed() < Duration::from_secs(120), "the program hangs while tmq is stopped");
        std::thread::sleep(Duration::from_millis(50));
    }
    run(Command::new("kill").args(["-CONT", &pid]));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let recording = Recording::at(dir);
    assert!(recording.number("lost_events") > 0, "the gap is counted");
    assert!(recording.integer("select count(*) from losses where reason = 'no_chunk'") > 0);
}

fn state(pid: &str) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('Z')
}

#[test]
fn full_disk() {
    let small = scratch("small-disk");
    let mounted =
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&small)).status.success();
    assert!(mounted, "this test mounts a small tmpfs and needs to run as root");
    let output = run(tmq()
        .args(["record", "-q", "-o"])
        .arg(small.join("run.tmq"))
        .arg("--")
        .arg(workload("ping_pong.c"))
        .args(["4", "500000"]));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    run(Command::new("umount").arg(&small));
    assert_eq!(output.stdout, b"done\n", "the program is unharmed");
    assert!(message.contains("No space left") || message.contains("disk"), "{message}");
}
