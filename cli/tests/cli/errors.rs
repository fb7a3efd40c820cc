//! What mistakes look like: the message, the hint, the exit status.

use std::fs;

use crate::fixture;
use crate::support::{Scratch, expect};

#[test]
fn mistakes_on_the_command_line() {
    let scratch = Scratch::new();
    fixture::recording(scratch.path(), "app.4711.tmq", 1);
    for (name, args) in [
        ("unknown-command", &["topp"][..]),
        ("unknown-option", &["top", "--gruop"]),
        ("unknown-key", &["top", "-g", "line"]),
        ("unknown-format", &["top", "--format", "xml"]),
        ("cumulative-traceback", &["top", "-g", "traceback", "--cumulative"]),
        ("both-modes", &["top", "--cumulative", "--inclusive"]),
        ("bad-moment", &["top", "app.4711.tmq@noon"]),
        ("moment-of-leaks", &["leaks", "app.4711.tmq@peak"]),
        ("bad-address", &["addr", "5555f00"]),
        ("bad-size", &["sql", "--memory-limit", "1X", "select 1"]),
        ("bad-param", &["sql", "--param", "novalue", "select 1"]),
        ("query-is-recording", &["sql", "app.4711.tmq"]),
        ("record-nothing", &["record"]),
        ("empty-filter", &["top", "-i", ""]),
    ] {
        let ran = scratch.run(args);
        assert_eq!(ran.code, 2, "{name}: {ran:?}");
        expect(&format!("error-{name}"), &ran.all());
    }
}

#[test]
fn recordings_that_cannot_be_read() {
    let scratch = Scratch::new();
    expect("error-no-recording-here", &scratch.run(&["top"]).all());
    fixture::recording(scratch.path(), "app.4711.tmq", 1);
    fs::create_dir(scratch.path().join("other")).unwrap();
    fs::write(scratch.path().join("file.tmq"), "x").unwrap();
    for (name, args) in [
        ("misspelled", &["top", "ap.4711.tmq"][..]),
        ("prefix", &["info", "app"]),
        ("nothing-similar", &["top", "zzz.tmq"]),
        ("not-a-recording", &["top", "other"]),
        ("a-file", &["top", "file.tmq"]),
        ("no-such-table", &["schema", "allocation"]),
        ("no-match", &["sql", "-r", "x*.tmq", "select 1"]),
    ] {
        let ran = scratch.run(args);
        assert_eq!(ran.code, 1, "{name}: {ran:?}");
        expect(&format!("error-{name}"), &ran.all());
    }
}

#[test]
fn a_damaged_recording_is_named() {
    let scratch = Scratch::new();
    fixture::recording(scratch.path(), "app.4711.tmq", 1);
    fs::remove_file(scratch.path().join("app.4711.tmq/frames.parquet")).unwrap();
    let ran = scratch.run(&["top", "app.4711.tmq"]);
    assert_eq!(ran.code, 1);
    expect("error-missing-file", &ran.all());
}
