//! Opening recordings: each way in which a directory is not a complete recording has its own message.

use std::fs;
use std::path::Path;

use tmq_store::schema::{ALLOCATIONS, METADATA, STACKS, THREADS, ThreadsColumns, ThreadsRow};
use tmq_store::write::RecordingBuilder;
use tmq_store::{Error, Recording};

use crate::support::Scratch;

fn thread(id: i32) -> ThreadsRow {
    ThreadsRow { thread_id: id, process_id: 0, tid: 7, name: "main".to_owned(), start_ns: 0, end_ns: 9 }
}

fn make(path: &Path) -> Recording {
    let mut builder = RecordingBuilder::create(path, vec!["./app".to_owned(), "-x".to_owned()]).unwrap();
    let mut threads = ThreadsColumns::default();
    threads.push(thread(0));
    builder.write(&mut threads).unwrap();
    threads.push(thread(1));
    builder.write(&mut threads).unwrap();
    builder.seal([("hostname".to_owned(), "example".to_owned())]).unwrap();
    Recording::open(path).unwrap()
}

#[test]
fn a_built_recording_opens_with_every_table() {
    let scratch = Scratch::new();
    let recording = make(&scratch.join("a.tmq"));
    assert_eq!(recording.rows(&THREADS), 2);
    assert_eq!(recording.rows(&STACKS), 0);
    assert_eq!(recording.table_files(&ALLOCATIONS), [scratch.join("a.tmq/allocations/part-00000.parquet")]);
    assert_eq!(recording.metadata().unwrap()["hostname"], "example");
    assert_eq!(recording.manifest().command, ["./app", "-x"]);
    let on_disk: u64 =
        recording.manifest().files.iter().map(|f| fs::metadata(recording.path().join(&f.path)).unwrap().len()).sum();
    assert_eq!(recording.size_on_disk(), on_disk);
    assert!(!recording.path().join("lock").exists());
}

#[test]
fn what_is_not_a_recording_is_told_apart() {
    let scratch = Scratch::new();
    let message = |path: &Path| Recording::open(path).unwrap_err().to_string();
    assert!(matches!(Recording::open(scratch.join("none")), Err(Error::NotFound { .. })));
    fs::write(scratch.join("file"), "x").unwrap();
    assert!(message(&scratch.join("file")).ends_with("is not a recording: a recording is a directory, this is a file"));
    assert!(message(scratch.path()).ends_with("is not a recording: it has no tmq.json"));
    fs::write(scratch.join("tmq.json"), "{").unwrap();
    assert!(message(scratch.path()).contains("is not a recording: tmq.json: EOF"));
    fs::write(scratch.join("tmq.json"), r#"{"format":"tmq recording","version":{"major":2,"minor":1},"new":1}"#)
        .unwrap();
    assert!(message(scratch.path()).ends_with("(format 2.1; this tmq reads 1.x): upgrade tmq"));
}

#[test]
fn live_and_interrupted_recordings_are_told_apart() {
    let scratch = Scratch::new();
    let path = scratch.join("a.tmq");
    let builder = RecordingBuilder::create(&path, Vec::new()).unwrap();
    match Recording::open(&path) {
        Err(Error::StillRecording { pid, .. }) => assert_eq!(pid, std::process::id()),
        other => panic!("{other:?}"),
    }
    assert!(matches!(RecordingBuilder::create(&path, Vec::new()), Err(Error::AlreadyExists { .. })));
    drop(builder);
    let message = Recording::open(&path).unwrap_err().to_string();
    assert!(message.ends_with(&format!("run `tmq repair {}`", path.display())), "{message}");
}

#[test]
fn missing_and_cut_files_are_named() {
    let scratch = Scratch::new();
    let recording = make(&scratch.join("a.tmq"));
    let threads = &recording.table_files(&THREADS)[0];
    let bytes = fs::read(threads).unwrap();
    fs::write(threads, &bytes[..bytes.len() - 1]).unwrap();
    let message = Recording::open(recording.path()).unwrap_err().to_string();
    assert!(message.contains("threads.parquet is damaged: it has"), "{message}");
    fs::remove_file(threads).unwrap();
    assert!(matches!(Recording::open(recording.path()), Err(Error::MissingFile { path }) if path == *threads));
}

#[test]
fn files_outside_the_recording_are_refused() {
    let scratch = Scratch::new();
    let recording = make(&scratch.join("a.tmq"));
    let manifest = recording.path().join("tmq.json");
    let text = fs::read_to_string(&manifest).unwrap().replace("threads.parquet", "../threads.parquet");
    fs::write(&manifest, text).unwrap();
    assert!(matches!(Recording::open(recording.path()), Err(Error::NotARecording { .. })));
}

#[test]
fn the_newest_recording_is_found() {
    let scratch = Scratch::new();
    assert!(matches!(Recording::newest_in(scratch.path()), Err(Error::NoneInDirectory { .. })));
    make(&scratch.join("z.tmq"));
    make(&scratch.join("a.tmq"));
    fs::create_dir(scratch.join("other")).unwrap();
    assert_eq!(Recording::newest_in(scratch.path()).unwrap().path(), scratch.join("a.tmq"));
}

/// The Parquet reader panics at some of these: an error with the path is what comes out.
#[test]
fn damage_within_a_table_is_an_error_with_its_path() {
    let scratch = Scratch::new();
    let recording = make(&scratch.join("a.tmq"));
    for table in [&METADATA, &THREADS] {
        let path = &recording.table_files(table)[0];
        let whole = fs::read(path).unwrap();
        let mut refused = 0;
        for at in 0..whole.len() {
            for value in [0, 0xff, whole[at] ^ 0x10] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                fs::write(path, damaged).unwrap();
                for error in [recording.read(table).err(), recording.metadata().err()].into_iter().flatten() {
                    let message = error.to_string();
                    assert!(message.starts_with(&format!("{} is damaged", path.display())), "{message}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 100, "{refused}");
        fs::write(path, whole).unwrap();
    }
}

/// Other engines are the point of Parquet: the script reads every table with pyarrow and DuckDB.
#[test]
fn pyarrow_and_duckdb_read_every_table() {
    let scratch = Scratch::new();
    let mut rng = crate::random::Rng::new(77);
    let run = crate::random::program(&mut rng, 5000, true);
    let path = scratch.join("a.tmq");
    let inputs = crate::random::deliver(&mut rng, &run);
    let mut ingest = tmq_store::ingest::Ingest::create(&path, &Default::default()).unwrap();
    for input in inputs {
        ingest.input(input).unwrap();
    }
    ingest.seal(&crate::wire::no_symbols(), &|_| {}).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/check_recording.py");
    let output = std::process::Command::new("python3")
        .arg(script)
        .arg(&path)
        .output()
        .expect("this test needs python3 with pyarrow and duckdb (pip install pyarrow duckdb)");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "this test needs python3 with pyarrow and duckdb (pip install pyarrow duckdb): {said}"
    );
}
