//! Whole recordings of child processes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::hostile::Random;
use super::programs::{ENV_FAKE, TEST};
use super::sink::Check;
use crate::collect::record::{Ended, Observer, Options, Progress, record_into};
use crate::collect::{Error, Exit, Verdict, mark, sys};

/// Dispositions of signals belong to the process: one recording at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(super) fn alone() -> MutexGuard<'static, ()> {
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    sys::signals::heed_keyboard();
    alone
}

/// A library that may be preloaded into anything: libc itself.
fn harmless_library() -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .find(|path| path.contains("/libc.so.6"))
        .unwrap()
        .into()
}

pub(super) struct Directory(pub(super) PathBuf);

impl Directory {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tmq-record-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn options(directory: &Directory, command: &[&str]) -> Options {
    let mut options = Options::new(command.iter().map(OsString::from).collect(), harmless_library());
    options.output = Some(directory.0.clone());
    options
}

/// A command that runs one of `programs` with the output of the test harness hidden.
fn fake(program: &str) -> Vec<String> {
    let script = format!("{ENV_FAKE}=\"$1\" exec \"$2\" {TEST} --exact >/dev/null");
    let own = std::env::current_exe().unwrap().into_os_string().into_string().unwrap();
    ["sh", "-c", &script, "sh", program, &own].map(str::to_owned).to_vec()
}

fn record_fake(program: &str, chunks: u32, check: Check, observer: &mut dyn Observer) -> (Ended, Check) {
    let directory = Directory::new(&program.replace(' ', "-"));
    let command = fake(program);
    let mut options = options(&directory, &command.iter().map(String::as_str).collect::<Vec<_>>());
    options.config.chunks = chunks;
    record_into(&options, observer, |_| Ok(check)).unwrap()
}

#[test]
fn a_program_with_threads_is_recorded_whole() {
    let _alone = alone();
    for chunks in [2048, 8] {
        let (ended, check) = record_fake("events 200000 4", chunks, Check::default(), &mut ());
        check.assert_sound();
        assert_eq!(check.events(), 800_000);
        assert_eq!(
            (ended.exit, ended.nothing_recorded.is_none(), ended.failure.is_none()),
            (Some(Exit::Code(0)), true, true)
        );
        assert_eq!((check.images.len(), check.streams.len(), check.clocks), (1, 4, 1));
        let (end, code, signal, _) = check.images[&1].ended.unwrap();
        assert_eq!((end.is_some(), code, signal), (true, Some(0), None));
        assert!(check.losses.is_empty(), "{:?}", check.losses);
        assert!(check.names.values().any(|name| name.starts_with("writer-")), "{:?}", check.names);
    }
}

#[test]
fn a_kill_loses_nothing_that_was_committed() {
    let _alone = alone();
    struct Killer(Random);
    impl Observer for Killer {
        fn started(&mut self, _: &Path, pid: u32) {
            let delay = Duration::from_millis(20 + self.0.next() % 100);
            std::thread::spawn(move || {
                std::thread::sleep(delay);
                sys::kill(pid, libc::SIGKILL).unwrap();
            });
        }
    }
    let mut killer = Killer(Random(u64::from(std::process::id())));
    for _ in 0..8 {
        let (ended, check) = record_fake("forever 0 3", 64, Check::default(), &mut killer);
        check.assert_sound();
        assert_eq!(ended.exit, Some(Exit::Signal(libc::SIGKILL)));
        for image in check.images.values() {
            let (end, code, signal, _) = image.ended.unwrap();
            assert_eq!((end.is_some(), code, signal), (true, None, Some(libc::SIGKILL)));
        }
        assert!(check.losses.is_empty(), "{:?}", check.losses);
    }
}

#[test]
fn images_that_follow_each_other_by_exec_are_told_apart() {
    let _alone = alone();
    let (ended, check) = record_fake("exec 3000 4", 64, Check::default(), &mut ());
    check.assert_sound();
    assert_eq!((ended.exit, check.images.len(), check.events()), (Some(Exit::Code(0)), 5, 15_000));
    let images: Vec<_> = check.images.values().collect();
    for pair in images.windows(2) {
        assert_eq!(pair[0].pid, pair[1].pid);
        let (end, code, ..) = pair[0].ended.unwrap();
        assert_eq!(code, None);
        assert!(end.unwrap() <= pair[1].start);
    }
    assert_eq!(images[4].ended.unwrap().1, Some(0));
}

#[test]
fn a_tree_of_processes_is_one_recording() {
    let _alone = alone();
    let (ended, check) = record_fake("tree 2500 3", 64, Check::default(), &mut ());
    check.assert_sound();
    assert_eq!(ended.exit, Some(Exit::Code(0)));
    assert_eq!((check.images.len(), check.events()), (40, 100_000));
    assert_eq!(check.images.values().filter(|image| image.forked_from == 0).count(), 1);
    assert!(check.images.values().all(|image| image.ended.unwrap().0.is_some()));
}

#[derive(Default)]
struct Waiting {
    told: Vec<usize>,
    interrupt: bool,
}

impl Observer for Waiting {
    fn waiting_for_descendants(&mut self, processes: usize) {
        self.told.push(processes);
        if self.interrupt {
            sys::kill(std::process::id(), libc::SIGINT).unwrap();
        }
    }
}

#[test]
fn descendants_are_waited_for_until_ctrl_c() {
    let _alone = alone();
    let mut waiting = Waiting::default();
    let (ended, check) = record_fake("daemon 1000", 64, Check::default(), &mut waiting);
    check.assert_sound();
    assert_eq!((ended.exit, check.events()), (Some(Exit::Code(0)), 3000));
    assert_eq!(waiting.told, [1]);
    drop(ended);

    let mut waiting = Waiting { interrupt: true, ..Waiting::default() };
    let (ended, check) = record_fake("daemon 1000", 64, Check::default(), &mut waiting);
    check.assert_sound();
    assert_eq!((ended.exit, check.events()), (Some(Exit::Code(0)), 2000));
    assert_eq!(check.images.values().filter(|image| image.ended.unwrap().0.is_none()).count(), 1);
}

#[test]
fn a_hostile_target_harms_only_its_recording() {
    let _alone = alone();
    let begin = Instant::now();
    let (ended, check) = record_fake("hostile 700", 32, Check { hostile: true, ..Check::default() }, &mut ());
    check.assert_sound();
    assert_eq!(ended.exit, Some(Exit::Code(0)));
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_full_disk_stops_the_recording_but_not_the_target() {
    let _alone = alone();
    #[derive(Default)]
    struct Failed(u32);
    impl Observer for Failed {
        fn failed(&mut self, error: &crate::Error) {
            assert!(error.to_string().contains("no space"));
            self.0 += 1;
        }
    }
    let mut failed = Failed::default();
    let check = Check { full_after: Some(50_000), ..Check::default() };
    // The fake target exits with 7 when it finds the recording closed.
    let (ended, check) = record_fake("events 1000000 2", 16, check, &mut failed);
    assert_eq!((ended.exit, failed.0), (Some(Exit::Code(7)), 1));
    assert!(ended.failure.is_some() && check.slots >= 50_000);
}

#[test]
fn a_panic_closes_the_recording() {
    let _alone = alone();
    let mut calls = 0;
    let check = Check {
        on_slots: Some(Box::new(move || {
            calls += 1;
            assert!(calls < 5, "on purpose");
        })),
        ..Check::default()
    };
    struct Pid(u32);
    impl Observer for Pid {
        fn started(&mut self, _: &Path, pid: u32) {
            self.0 = pid;
        }
    }
    let mut pid = Pid(0);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        record_fake("events 10000000 2", 4, check, &mut pid);
    }));
    assert!(result.is_err());
    let begin = Instant::now();
    loop {
        match sys::try_wait(pid.0).unwrap() {
            Some(exit) => break assert_eq!(exit, Exit::Code(7)),
            None => assert!(begin.elapsed() < Duration::from_secs(5), "the target hangs"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn statuses_are_passed_on_and_an_empty_recording_says_so() {
    let _alone = alone();
    let directory = Directory::new("status");
    let run = |command: &[&str]| {
        let (ended, check) = record_into(&options(&directory, command), &mut (), |_| Ok(Check::default())).unwrap();
        assert!(ended.nothing_recorded.is_some() && check.images.is_empty());
        assert_eq!(check.clocks, 1);
        ended.exit.unwrap()
    };
    assert_eq!(run(&["true"]), Exit::Code(0));
    assert_eq!(run(&["sh", "-c", "exit 42"]), Exit::Code(42));
    assert_eq!(run(&["sh", "-c", "kill -SEGV $$"]), Exit::Signal(libc::SIGSEGV));
    assert_eq!(Exit::Signal(libc::SIGSEGV).status(), 139);
    let begin = Instant::now();
    run(&["true"]);
    assert!(begin.elapsed() < Duration::from_millis(150), "{:?}", begin.elapsed());
}

#[test]
fn what_cannot_run_leaves_nothing_behind() {
    let _alone = alone();
    let directory = Directory::new("cannot");
    let run = |command: &[&str], preload: Option<&str>| {
        let mut options = options(&directory, command);
        options.preload = preload.map_or(options.preload, PathBuf::from);
        record_into(&options, &mut (), |_| Ok(Check::default())).map(drop).unwrap_err()
    };
    assert!(matches!(run(&[], None), Error::NoCommand));
    assert!(matches!(run(&["tmq-no-such-program"], None), Error::Launch { .. }));
    assert!(matches!(run(&["true"], Some("/no/such/library.so")), Error::Preload { .. }));
    let static_program = directory.0.join("static");
    std::fs::write(&static_program, static_elf()).unwrap();
    std::fs::set_permissions(&static_program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(matches!(run(&[static_program.to_str().unwrap()], None), Error::CannotRecord { .. }));

    // Refused by the sink: the forked child must not run the program.
    let witness = directory.0.join("witness");
    let touch = options(&directory, &["touch", witness.to_str().unwrap()]);
    let refused =
        record_into(&touch, &mut (), |_| Err::<Check, _>(crate::Error::AlreadyExists { path: witness.clone() }));
    assert!(matches!(refused.map(drop).unwrap_err(), Error::Store(_)));
    assert!(!witness.exists());
}

/// The smallest program that exits: an ELF header, one segment, and two instructions.
fn static_elf() -> Vec<u8> {
    let code = [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let (entry, size) = (0x40_0078u64, 0x78 + code.len() as u64);
    file.extend([2u16, 62].iter().flat_map(|n| n.to_le_bytes()));
    file.extend(1u32.to_le_bytes());
    file.extend([entry, 64, 0].iter().flat_map(|n| n.to_le_bytes()));
    file.extend(0u32.to_le_bytes());
    file.extend([64u16, 56, 1, 64, 0, 0].iter().flat_map(|n| n.to_le_bytes()));
    file.extend([1u32, 5].iter().flat_map(|n| n.to_le_bytes()));
    file.extend([0u64, 0x40_0000, 0x40_0000, size, size, 4096].iter().flat_map(|n| n.to_le_bytes()));
    file.extend(code);
    file
}

/// A script that says what it inherited: blocked, ignored and caught signals without those that libc keeps for itself,
/// descriptors, process group, session and terminal, directory, environment.
const INHERITED: &str = r#"
    exec 3>"$0"
    sed -nE 's/^(Sig(Blk|Ign|Cgt)):.*([0-9a-f]{7})$/\1 \3/p' /proc/self/status >&3
    for fd in 0 1 2 4 5 6 7 8 9 10 11 12; do [ -e /proc/self/fd/$fd ] && echo fd $fd >&3; done
    cut -d' ' -f5,6,8 /proc/$$/stat >&3; pwd >&3; ulimit -n >&3
    env | grep -vE '^(LD_PRELOAD|TMQ_|_=|SHLVL=)' | sort >&3
"#;

#[test]
fn targets_inherit_what_they_would_without_tmq() {
    let directory = Directory::new("inherit");
    let file = |name: &str| directory.0.join(name).into_os_string().into_string().unwrap();
    let own = std::env::current_exe().unwrap().into_os_string().into_string().unwrap();
    // `exec` in the shell gives the program what the shell has: this is "without tmq".
    let record = format!("{ENV_FAKE}='record {}' exec '{own}' {TEST} --exact", file("dir"));
    for setting in ["", "trap '' PIPE INT HUP CHLD;", "exec <&-;", "exec 2>&-; trap '' TERM;", "ulimit -n 100;"] {
        let run = |what: &str, out: &str| {
            let script = format!("{setting} {what}");
            let mut command = std::process::Command::new("sh");
            command.args(["-c", &script]).env("TMQ_OUT", file(out)).env("TMQ_SCRIPT", INHERITED);
            assert!(command.stdout(std::process::Stdio::null()).status().unwrap().success(), "{script}");
            std::fs::read_to_string(file(out)).unwrap()
        };
        let want = run("exec sh -c \"$TMQ_SCRIPT\" \"$TMQ_OUT\"", "bare");
        assert!(want.contains("SigIgn") && want.contains("PATH="), "{want}");
        assert_eq!(run(&record, "recorded"), want, "with {setting:?}");
    }
}

/// The part of the test above that records, in a process of its own that inherits what the test wants.
pub(super) fn record_script(directory: &str) {
    let variable = |name: &str| std::env::var(name).unwrap();
    let directory = Directory(directory.into());
    std::fs::create_dir_all(&directory.0).unwrap();
    let command = ["sh", "-c", &variable("TMQ_SCRIPT"), &variable("TMQ_OUT")];
    let (ended, _) = record_into(&options(&directory, &command), &mut (), |_| Ok(Check::default())).unwrap();
    std::process::exit(ended.exit.unwrap().status());
}

#[test]
fn a_request_to_end_reaches_the_target_once() {
    let _alone = alone();
    struct Asks;
    impl Observer for Asks {
        fn started(&mut self, _: &Path, _: u32) {
            std::thread::spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                // Sent to this process alone, as `kill` does.
                sys::kill(std::process::id(), libc::SIGTERM).unwrap();
            });
        }
    }
    let directory = Directory::new("term");
    let script = "trap 'n=$((n+1)); [ $n = 1 ] && sleep 0.2 && exit 33' TERM; while :; do sleep 0.02; done";
    let options = options(&directory, &["sh", "-c", script]);
    let (ended, _) = record_into(&options, &mut Asks, |_| Ok(Check::default())).unwrap();
    assert_eq!(ended.exit, Some(Exit::Code(33)));
}

#[test]
fn interrupts_are_the_targets_business() {
    let _alone = alone();
    struct Interrupts;
    impl Observer for Interrupts {
        fn started(&mut self, _: &Path, pid: u32) {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(200));
                for signal in [libc::SIGINT, libc::SIGQUIT] {
                    sys::kill(std::process::id(), signal).unwrap();
                }
                std::thread::sleep(Duration::from_millis(100));
                sys::kill(pid, libc::SIGINT).unwrap();
            });
        }
    }
    let directory = Directory::new("int");
    let options = options(&directory, &["sleep", "10"]);
    let (ended, _) = record_into(&options, &mut Interrupts, |_| Ok(Check::default())).unwrap();
    assert_eq!(ended.exit, Some(Exit::Signal(libc::SIGINT)));
}

#[test]
fn marks_reach_a_running_recording() {
    let _alone = alone();
    struct Marks(PathBuf);
    impl Observer for Marks {
        fn started(&mut self, directory: &Path, _: u32) {
            mark(directory, "first").unwrap();
        }
        fn progress(&mut self, progress: Progress) {
            if progress.elapsed > Duration::from_millis(150) {
                let _ = mark(&self.0, "later");
            }
        }
        fn inspected(&mut self, verdict: &Verdict) {
            assert_eq!(*verdict, Verdict::Fine);
        }
    }
    let directory = Directory::new("marks");
    let options = options(&directory, &["sleep", "0.4"]);
    let (_, check) = record_into(&options, &mut Marks(directory.0.clone()), |_| Ok(Check::default())).unwrap();
    assert_eq!((check.marks[0].1.as_str(), check.marks[1].1.as_str()), ("first", "later"));
    assert!(check.marks[0].0 < check.marks[1].0);
    assert!(!directory.0.join("control.sock").exists());
    assert!(matches!(mark(&directory.0, "late"), Err(Error::Mark { .. })));
}

#[test]
fn stopping_and_resuming_a_target_is_left_to_the_shell() {
    let _alone = alone();
    struct Stops;
    impl Observer for Stops {
        fn started(&mut self, _: &Path, pid: u32) {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                sys::kill(pid, libc::SIGSTOP).unwrap();
                std::thread::sleep(Duration::from_millis(200));
                sys::kill(pid, libc::SIGCONT).unwrap();
            });
        }
    }
    let begin = Instant::now();
    let (ended, check) = record_fake("events 3000000 2", 64, Check::default(), &mut Stops);
    check.assert_sound();
    assert_eq!((ended.exit, check.events()), (Some(Exit::Code(0)), 6_000_000));
    assert!(begin.elapsed() > Duration::from_millis(200));
}
