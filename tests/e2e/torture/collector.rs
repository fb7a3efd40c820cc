//! What happens to tmq, and what the program must not notice of it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Recording, run, scratch, shell_status, tmq, workload};

/// Waits for a file that a shell writes when the program has ended; its content.
fn await_file(path: &Path) -> String {
    let start = Instant::now();
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.ends_with('\n') {
            return text;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "the program hangs");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// tmq is killed under a program at full speed, which ends as it would have, with children that start later.
#[test]
fn killed() {
    let dir = scratch("killed");
    let (recording, status) = (dir.join("run.tmq"), dir.join("status"));
    let script = format!(
        "{0} 4 1500000 && {1} 20 4; echo $? > {2}",
        workload("ping_pong.c").display(),
        workload("fork_storm.c").display(),
        status.display()
    );
    let mut child = tmq()
        .args(["record", "-q", "-o"])
        .arg(&recording)
        .args(["--", "sh", "-c", &script])
        .stdout(std::fs::File::create(dir.join("out")).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(await_file(&status), "0\n");
    let out = std::fs::read_to_string(dir.join("out")).unwrap();
    assert_eq!(out, "done\n20 of 20 children ended well\n");
    assert!(run(tmq().arg("repair").arg(&recording)).status.success());
    let recording = Recording::at(recording);
    // Of blocks under way between threads the free may be missing and the next allocation not; then that is said.
    let ended = "select count(*) from allocations where free_ns is not null and free_thread_id is null";
    assert_eq!(recording.integer(ended), recording.lost("unpaired"));
    assert!(recording.number("allocations") > 1000);
}

/// Runs tmq under limits of a shell; exit status, what it printed, the recording.
fn limited(limits: &str, options: &[&str], program: &[&str]) -> (i32, String, String, std::path::PathBuf) {
    let dir = scratch("limited").join("run.tmq");
    let mut command = Command::new("bash");
    command.args(["-c", &format!("{limits} && exec \"$@\""), "bash"]).arg(tmq().get_program()).arg("record");
    command.args(options).arg("-o").arg(&dir).arg("--").args(program).env("XDG_CACHE_HOME", scratch("cache"));
    let output = run(&mut command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (shell_status(output.status), text(&output.stdout), text(&output.stderr), dir)
}

/// Descriptors for neither the children's pidfds nor much else.
#[test]
fn out_of_descriptors() {
    let program = workload("thread_forks.c").display().to_string();
    for n in [64, 32, 24, 20, 16, 12, 8] {
        let (status, out, message, dir) = limited(&format!("ulimit -n {n}"), &["-q"], &[&program, "8", "9"]);
        match status {
            0 => {
                assert_eq!(out, "72 of 72\n", "{n} descriptors: {message}");
                let recording = Recording::at(dir);
                recording.check_consistency();
                assert_eq!(recording.blocks_between(600, 607), 72, "{n} descriptors");
            }
            // It may fail, but it says so, and the program either ran to its end or was not started.
            _ => assert!(
                (out.is_empty() || out == "72 of 72\n") && message.contains("tmq: "),
                "{n}: {status} {out} {message}"
            ),
        }
        assert!(n < 24 || status == 0, "{n} descriptors should do: {message}");
    }
}

#[test]
fn out_of_file_size() {
    let program = workload("ping_pong.c").display().to_string();
    // Not even the shared memory can be made.
    let (status, out, message, _) = limited("ulimit -f 64", &["-q"], &[&program, "4", "200000"]);
    assert!(status == 1 && out.is_empty() && message.contains("File too large"), "{status} {out} {message}");
    // In the middle of the run.
    let options = ["-q", "--buffer-size", "1M"];
    let (status, out, message, _) = limited("ulimit -f 4096", &options, &[&program, "4", "1000000"]);
    assert_eq!(out, "done\n", "{status} {message}");
    assert!(status == 1 && message.contains("File too large"), "{status} {message}");
}

#[test]
fn out_of_address_space() {
    let program = workload("ping_pong.c").display().to_string();
    // Below its own size not even exec succeeds.
    for megabytes in [8192, 1024, 512, 300, 220] {
        let bare =
            run(Command::new("bash").args(["-c", &format!("ulimit -v {} && exec {program} 2 20000", megabytes << 10)]));
        let (status, out, message, _) =
            limited(&format!("ulimit -v {}", megabytes << 10), &["-q"], &[&program, "2", "20000"]);
        let same = out.as_bytes() == bare.stdout.as_slice() || out.is_empty();
        assert!(same && (status == 0 || !message.is_empty()), "{megabytes} MiB: {status} {out} {message}");
        assert!(megabytes < 8192 || status == 0, "{megabytes} MiB: {message}");
    }
}

#[test]
fn read_only_output() {
    let dir = scratch("read-only");
    let mount = |arguments: &[&str]| run(Command::new("mount").args(arguments).arg(&dir)).status.success();
    assert!(mount(&["-t", "tmpfs", "-o", "ro", "tmpfs"]), "this test mounts a tmpfs and needs to run as root");
    let output = run(tmq().args(["record", "-o"]).arg(dir.join("run.tmq")).args(["--", "echo", "ran"]));
    run(Command::new("umount").arg(&dir));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.stdout.is_empty() && message.contains("Read-only file system"), "{message}");
    assert_eq!(output.status.code(), Some(1));
}
