//! `tmq record` around programs that every system has: what it adds to them, and what not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fixture;
use crate::support::{Scratch, expect};

#[test]
fn output_and_status_are_the_programs_own() {
    let scratch = Scratch::new();
    let ran = scratch.run(&["record", "-o", "run.tmq", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (7, "out\n"));
    assert!(ran.stderr.starts_with("err\ntmq: recorded 1 process for "), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("tmq: next: tmq top run.tmq\n"), "{}", ran.stderr);
    let silent = scratch.run(&["-q", "record", "-o", "quiet.tmq", "sh", "-c", "exit 3"]);
    assert_eq!((silent.code, silent.stdout.as_str(), silent.stderr.as_str()), (3, "", ""));
    let killed = scratch.run(&["-q", "record", "-o", "killed.tmq", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.code, 128 + 9);
}

#[test]
fn input_reaches_the_program() {
    let scratch = Scratch::new();
    let ran = scratch.run_with_input(&["-q", "record", "-o", "run.tmq", "cat"], "through\n");
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "through\n", ""));
}

#[test]
fn the_recording_is_named_after_program_and_process() {
    let scratch = Scratch::new();
    scratch.run(&["-q", "record", "true"]).ok();
    let names: Vec<String> = fs::read_dir(scratch.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tmq"))
        .collect();
    assert_eq!(names.len(), 1);
    let pid = names[0].strip_prefix("true.").unwrap().strip_suffix(".tmq").unwrap();
    assert!(pid.parse::<u32>().is_ok(), "{names:?}");
    assert!(scratch.run(&["-q", "top"]).ok().contains("true."));
}

#[test]
fn programs_that_do_not_run() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("start-it"), "#!/bin/sh\n").unwrap();
    fs::write(scratch.path().join("text"), "just text\n").unwrap();
    fs::set_permissions(scratch.path().join("start-it"), fs::Permissions::from_mode(0o644)).unwrap();
    for (name, command, code) in [
        ("not-found", "no-such-command", 127),
        ("no-such-file", "./no-such-file", 127),
        ("here-but-not-in-path", "start-it", 127),
        ("not-executable", "./start-it", 126),
        ("directory", "/", 126),
    ] {
        let ran = scratch.run(&["record", command]);
        assert_eq!(ran.code, code, "{ran:?}");
        expect(&format!("record-{name}"), &ran.all());
    }
    let left = fs::read_dir(scratch.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmq"));
    assert_eq!(left.count(), 0, "nothing is left behind");
}

#[test]
fn older_recordings_are_replaced_only_on_demand_and_other_directories_never() {
    let scratch = Scratch::new();
    fixture::recording(scratch.path(), "run.tmq", 1);
    fs::create_dir(scratch.path().join("precious")).unwrap();
    fs::write(scratch.path().join("precious/file"), "data").unwrap();
    expect("record-exists", &scratch.run(&["record", "-o", "run.tmq", "true"]).all());
    expect("record-foreign", &scratch.run(&["record", "--force", "-o", "precious", "true"]).all());
    assert!(scratch.path().join("precious/file").exists());
    scratch.run(&["-q", "record", "--force", "-o", "run.tmq", "true"]).ok();
    let info: serde_json::Value =
        serde_json::from_str(&scratch.run(&["info", "run.tmq", "--format", "json"]).ok()).unwrap();
    assert_eq!(info["command"][0], "true");
}

#[test]
fn marks_of_a_recorded_script_name_moments() {
    let scratch = Scratch::new();
    let script = format!("{} mark half", env!("CARGO_BIN_EXE_tmq"));
    scratch.run(&["-q", "record", "-o", "run.tmq", "sh", "-c", &script]).ok();
    let marks = scratch.run(&["sql", "-r", "run.tmq", "select name from moments where kind = 'mark'"]).ok();
    assert_eq!(marks, "name\nhalf\n");
    assert_eq!(scratch.run(&["top", "run.tmq@mark:half"]).code, 0);
    expect("mark-nobody", &scratch.run(&["mark", "late"]).all());
}

#[test]
fn the_library_is_kept_in_the_cache() {
    let scratch = Scratch::new();
    scratch.run(&["-q", "record", "-o", "run.tmq", "true"]).ok();
    let cache = scratch.path().join(".cache/tmq/preload");
    let versions: Vec<_> = fs::read_dir(&cache).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(versions.len(), 1);
    assert!(versions[0].join("libtmq_preload.so").is_file());
    assert_eq!(fs::metadata(&versions[0]).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_complete_recording_needs_no_repair() {
    let scratch = Scratch::new();
    fixture::recording(scratch.path(), "run.tmq", 1);
    let ran = scratch.run(&["repair", "run.tmq"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "tmq: run.tmq is complete: there is nothing to repair\n"));
    expect("repair-missing", &scratch.run(&["repair", "rum.tmq"]).all());
}
