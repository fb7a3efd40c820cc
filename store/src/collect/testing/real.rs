//! Recordings with the preload library of this build, where there is one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::record::{Directory, alone, options};
use super::sink::Check;
use crate::Recording;
use crate::collect::record::{Ended, record_into};
use crate::collect::{Error, Exit, Options, record};
use crate::ingest::{SealOptions, SealProgress};

/// The library that `cargo build` puts beside the test binaries, unless it is older than what it is made of: `cargo test`
/// alone leaves an old one as it is.
fn library() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let built = own.parent()?.parent()?.join("libtmq_preload.so");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join("recorder");
    (modified(&built)? >= newest(&sources)?).then_some(built)
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// When something in a directory was last changed.
fn newest(directory: &Path) -> Option<SystemTime> {
    let entries = directory.read_dir().ok()?.flatten().map(|entry| entry.path());
    entries.filter_map(|path| if path.is_dir() { newest(&path) } else { modified(&path) }).max()
}

fn record_checked(command: &[&str], chunks: u32) -> Option<(Ended, Check)> {
    let directory = Directory::new("real");
    let mut options = options(&directory, command);
    options.preload = library()?;
    options.config.chunks = chunks;
    let check = Check { real: true, ..Check::default() };
    Some(record_into(&options, &mut (), |_| Ok(check)).unwrap())
}

#[test]
fn real_programs_keep_the_promises_of_the_protocol() {
    let _alone = alone();
    let script = "i=0; while [ $i -lt 20 ]; do ls -l / | sort -k5 >/dev/null; i=$((i+1)); done; exit 5";
    for chunks in [2048, 64] {
        let Some((ended, check)) = record_checked(&["bash", "-c", script], chunks) else { return };
        check.assert_sound();
        assert_eq!(ended.exit, Some(Exit::Code(5)));
        assert!(check.images.len() >= 41, "{} images", check.images.len());
        assert!(check.events() > 1000);
        assert!(check.losses.is_empty(), "{:?}", check.losses);
    }
}

#[test]
fn background_jobs_of_a_shell_are_waited_for() {
    let _alone = alone();
    let begin = Instant::now();
    let Some((ended, check)) = record_checked(&["sh", "-c", "(sleep 0.3; ls >/dev/null) & exit 3"], 64) else { return };
    check.assert_sound();
    assert_eq!(ended.exit, Some(Exit::Code(3)));
    assert!(begin.elapsed() > Duration::from_millis(300));
    assert!(check.images.len() >= 4);
}

/// Measures: `TMQ_MEASURE="CHUNKS COMMAND..." cargo test ... measure -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a test"]
fn measure() {
    let line = std::env::var("TMQ_MEASURE").unwrap();
    let words: Vec<_> = line.split(' ').collect();
    let begin = Instant::now();
    let (ended, check) = record_checked(&words[1..], words[0].parse().unwrap()).unwrap();
    println!(
        "{:?}, {:?}, {} rounds, {} slots, {} images, losses {:?}, counters {:?}",
        begin.elapsed(),
        ended.exit,
        ended.rounds,
        ended.slots,
        check.images.len(),
        check.losses,
        check.images.values().filter_map(|image| image.ended).map(|ended| ended.3.losses).collect::<Vec<_>>(),
    );
    check.assert_sound();
}

fn unresolved() -> SealOptions {
    SealOptions { no_symbols: true, ..SealOptions::default() }
}

/// The way that `tmq record` goes, store and all.
#[test]
fn a_recording_is_sealed_and_can_be_opened() {
    let _alone = alone();
    let Some(preload) = library() else { return };
    let directory = Directory::new("sealed");
    let script = "for i in 1 2 3; do ls -l / >/dev/null; done; exit 9";
    let mut options = Options::new(["bash", "-c", script].map(Into::into).to_vec(), preload);
    options.output = Some(directory.0.join("run.tmq"));
    let outcome = record(&options, &unresolved(), &mut (), &|_| {}).unwrap();
    assert_eq!(outcome.ended.exit, Some(Exit::Code(9)));
    assert!(outcome.ended.nothing_recorded.is_none(), "{outcome:?}");
    let summary = outcome.summary.unwrap();
    assert!(summary.processes >= 4 && summary.allocations > 1000 && summary.lost_events == 0, "{summary:?}");
    assert!(summary.peak_bytes > 0 && summary.duration_ns > 0);
    Recording::open(&outcome.ended.directory).unwrap();
    assert!(!outcome.ended.directory.join("control.sock").exists());
}

#[test]
fn a_program_that_cannot_be_started_leaves_no_recording() {
    let _alone = alone();
    let Some(preload) = library() else { return };
    let directory = Directory::new("unstarted");
    // More arguments than the kernel takes: only exec itself finds out.
    let mut command = vec!["true".into()];
    command.resize(100_000, "x".repeat(100).into());
    let mut options = Options::new(command, preload);
    options.output = Some(directory.0.join("run.tmq"));
    assert!(matches!(record(&options, &unresolved(), &mut (), &|_| {}), Err(Error::Launch { .. })));
    assert!(!directory.0.join("run.tmq").exists());
    assert!(directory.0.exists());
}

/// As `measure`, with the store behind it.
#[test]
#[ignore = "a measurement, not a test"]
fn measure_store() {
    let line = std::env::var("TMQ_MEASURE").unwrap();
    let words: Vec<_> = line.split(' ').collect();
    let directory = Directory::new("measure");
    let mut options = Options::new(words[1..].iter().map(Into::into).collect(), library().unwrap());
    options.output = Some(directory.0.join("run.tmq"));
    options.config.chunks = words[0].parse().unwrap();
    let begin = Instant::now();
    let seal = |progress| {
        if progress == SealProgress::Allocations {
            println!("sealing after {:?}", begin.elapsed());
        }
    };
    let outcome = record(&options, &SealOptions::default(), &mut (), &seal).unwrap();
    println!("{:?}: {outcome:#?}", begin.elapsed());
}
