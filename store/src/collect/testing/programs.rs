//! What the test binary does when it is run as a target: `TMQ_FAKE` names the program, its arguments follow.
//!
//! The programs use the test recorder of [`writer`](super::writer), not a preload library.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, exit};
use std::time::Duration;

use tmq_wire::ENV_REGION;
use tmq_wire::record::{Kind, NO_STACK};

use super::hostile::{Random, scribble};
use super::writer::{Process, Stream};
use crate::collect::region::Region;

/// Environment variable with program and arguments.
pub(super) const ENV_FAKE: &str = "TMQ_FAKE";
/// Path of this test, by which the binary runs nothing else.
pub(super) const TEST: &str = "collect::testing::programs::target";

/// Not a test but the entry of targets: does nothing without [`ENV_FAKE`].
#[test]
fn target() {
    let Ok(line) = std::env::var(ENV_FAKE) else { return };
    let words: Vec<_> = line.split(' ').collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    if words[0] == "record" {
        super::record::record_script(words[1]);
    }
    let region = Region::open(Path::new(&std::env::var(ENV_REGION).unwrap())).unwrap();
    let process = Process::register(&region, std::process::id(), number(3) as u32);
    match words[0] {
        "events" => events(&process, number(1), number(2)),
        "forever" => events(&process, u64::MAX, number(2)),
        "exec" => exec(&process, number(1), number(2)),
        "tree" => tree(&process, number(1), number(2)),
        "daemon" => daemon(&process, number(1)),
        "hostile" => hostile(&region, number(1)),
        other => panic!("no program {other}"),
    }
    exit(0);
}

fn write(stream: &mut Stream<'_>, n: u64) {
    for i in 0..n {
        stream.event(Kind::Malloc, (i * 8) & ((1 << 47) - 1), i, NO_STACK);
    }
}

fn events(process: &Process<'_>, n: u64, threads: u64) {
    std::thread::scope(|scope| {
        for thread in 0..threads.max(1) {
            scope.spawn(move || {
                let link = std::fs::read_link("/proc/thread-self").unwrap();
                let tid = link.file_name().unwrap().to_str().unwrap().parse().unwrap();
                std::fs::write(format!("/proc/self/task/{tid}/comm"), format!("writer-{thread}")).unwrap();
                write(&mut process.stream(tid), n);
            });
        }
    });
}

/// This program again, as another one.
fn again(program: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([TEST, "--exact"]).env(ENV_FAKE, program).stdout(std::process::Stdio::null());
    command
}

/// Writes, and runs itself anew in this process as often as asked.
fn exec(process: &Process<'_>, n: u64, times: u64) {
    write(&mut process.stream(std::process::id()), n);
    if times > 0 {
        panic!("{}", again(&format!("exec {n} {}", times - 1)).exec());
    }
}

/// Writes, and runs children that write, each of which runs children, `depth` levels of three.
fn tree(process: &Process<'_>, n: u64, depth: u64) {
    let mut stream = process.stream(std::process::id());
    write(&mut stream, n);
    let child = || again(&format!("tree {n} {} {}", depth - 1, process.incarnation)).spawn().unwrap();
    let children: Vec<_> = (0..if depth > 0 { 3 } else { 0 }).map(|_| child()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

/// Leaves a child behind that writes after this process has ended.
fn daemon(process: &Process<'_>, n: u64) {
    let mut stream = process.stream(std::process::id());
    write(&mut stream, n);
    if std::env::var_os("TMQ_FAKE_DAEMON").is_none() {
        #[expect(clippy::zombie_processes, reason = "the child outlives this process: that is what is tested")]
        let _child = again(&format!("daemon {n}")).env("TMQ_FAKE_DAEMON", "1").spawn().unwrap();
    } else {
        std::thread::sleep(Duration::from_millis(300));
        for i in n..2 * n {
            stream.event(Kind::Malloc, i * 8, i, NO_STACK);
        }
    }
}

/// Scribbles over the whole region for so many milliseconds.
fn hostile(region: &Region, milliseconds: u64) {
    let begin = std::time::Instant::now();
    let mut random = Random(u64::from(std::process::id()) | 1);
    while begin.elapsed() < Duration::from_millis(milliseconds) {
        scribble(region, &mut random);
    }
}
