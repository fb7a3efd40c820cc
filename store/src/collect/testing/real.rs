//! Recordings with the preload library of this build, where there is one.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::record::{Directory, alone, options};
use super::sink::Check;
use crate::collect::Exit;
use crate::collect::record::{Ended, record_into};

/// The library that a workspace build puts beside the test binaries.
fn library() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let built = own.parent()?.parent()?.join("libtmq_preload.so");
    built.exists().then_some(built)
}

fn record(command: &[&str], chunks: u32) -> Option<(Ended, Check)> {
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
        let Some((ended, check)) = record(&["bash", "-c", script], chunks) else { return };
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
    let Some((ended, check)) = record(&["sh", "-c", "(sleep 0.3; ls >/dev/null) & exit 3"], 64) else { return };
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
    let (ended, check) = record(&words[1..], words[0].parse().unwrap()).unwrap();
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
