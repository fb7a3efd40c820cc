//! Programs that take rights, descriptors or memory from themselves, with the recorder inside.

use std::path::Path;
use std::process::Command;

use super::{same, same_command};
use crate::support::{Recording, run, scratch, tmq, workload};

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
    assert_eq!(recording.with_odd_stacks(), 0, "stacks are known without /proc");
    let recording = same("seccomp_waits.c", &[]);
    assert_eq!(recording.blocks_between(100, 202), 400_000);
}

/// 50,000 blocks in five threads, under `inner`, `outer`.
fn check_confined(recording: &Recording, what: &str) {
    assert_eq!(recording.blocks_between(2000, 2103), 50_000, "{what}");
    assert_eq!(recording.left_between(2000, 2103), 0, "{what}");
    assert_eq!(recording.with_odd_stacks(), 0, "{what}: {:?}", recording.sql("select * from losses"));
    let paths = recording.paths_of(2050);
    assert!(paths.iter().all(|p| p.starts_with("inner outer run ")), "{what}: {paths:?}");
}

#[test]
fn confined_programs() {
    let empty = scratch("root");
    for what in ["chroot", "descriptors", "files", "stack", "locked"] {
        check_confined(&same("confined.c", &[what, empty.to_str().unwrap()]), what);
    }
}

#[test]
fn without_shared_memory_files() {
    let dir = scratch("no-shm").join("run.tmq");
    let mut command = Command::new("unshare");
    command.args([
        "-m",
        "sh",
        "-c",
        "umount -l /dev/shm; test ! -e /dev/shm/. -o -z \"$(ls /dev/shm)\" && exec \"$@\"",
        "sh",
    ]);
    command.arg(tmq().get_program()).args(["record", "-q", "-o"]).arg(&dir).arg("--").arg(workload("confined.c"));
    let output = run(command.arg("nothing").env("XDG_CACHE_HOME", scratch("cache")));
    assert_eq!(output.stdout, b"done\n", "{}", String::from_utf8_lossy(&output.stderr));
    check_confined(&Recording::at(dir), "no /dev/shm");
}

/// The buffers are charged to whom touches them first: a program in a group of its own limits has to live with that.
#[test]
fn in_a_memory_cgroup() {
    let name = format!("tmq-{}", std::process::id());
    let kinds = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
    let made = kinds.iter().find_map(|(root, limit)| {
        let group = Path::new(root).join(&name);
        std::fs::create_dir(&group).ok()?;
        let limited = std::fs::write(group.join(limit), "67108864").is_ok();
        if !limited {
            let _ = std::fs::remove_dir(&group);
        }
        limited.then_some(group)
    });
    let Some(group) = made else {
        println!("no memory cgroup can be made here: not tested");
        return;
    };
    let script =
        format!("echo $$ > {}/cgroup.procs && exec {} nothing", group.display(), workload("confined.c").display());
    let recording = same_command(&["sh", "-c", &script]);
    check_confined(&recording, "cgroup");
    let _ = std::fs::remove_dir(&group);
}
