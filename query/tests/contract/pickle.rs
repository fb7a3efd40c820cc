//! Dumps of every CPython load, and every CPython loads ours.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tmq_query::tracemalloc::{DumpFor, Snapshot};

use super::data::create_snapshots;
use super::differential::{pythons, script};
use crate::support::Scratch;

/// A file name as the script prints it: the bytes of the name as Latin-1.
fn bytes_of(filename: &str) -> String {
    let mut bytes = Vec::new();
    for c in filename.chars() {
        match c as u32 {
            code @ 0xef80..=0xefff => bytes.push((code - 0xef00) as u8),
            _ => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes.iter().map(|b| *b as char).collect()
}

fn describe(snapshot: &Snapshot) -> Value {
    let traces = snapshot.traces.iter().map(|t| {
        let frames: Vec<_> =
            t.traceback.frames().iter().map(|f| serde_json::json!([bytes_of(&f.filename), f.lineno])).collect();
        serde_json::json!([t.domain, t.size, frames, t.traceback.total_nframe])
    });
    traces.collect()
}

fn dump_for(python: &Path) -> DumpFor {
    let version = Command::new(python).args(["-c", "import sys; print(sys.version_info[1])"]).output().unwrap();
    let minor: u32 = String::from_utf8(version.stdout).unwrap().trim().parse().unwrap();
    if minor < 9 { DumpFor::Python36 } else { DumpFor::Python39 }
}

#[test]
fn dumps_of_cpython_load() {
    let scratch = Scratch::new();
    let path = scratch.join("dump.pickle");
    for python in pythons() {
        let output = script(&python, &["dump", path.to_str().unwrap()]);
        let printed: Value = serde_json::from_str(&output).unwrap();
        let snapshot = Snapshot::load(&path).unwrap();
        assert_eq!(snapshot.traceback_limit, 7);
        assert_eq!(describe(&snapshot), printed["traces"], "{}", python.display());
        assert!(snapshot.traces.iter().any(|t| &*t.traceback.frames()[0].filename == "/srv/\u{efff}\u{effe}.py"));
    }
}

#[test]
fn cpython_loads_our_dumps() {
    let scratch = Scratch::new();
    let (ours, theirs) = (scratch.join("ours.pickle"), scratch.join("theirs.pickle"));
    for python in pythons() {
        script(&python, &["dump", theirs.to_str().unwrap()]);
        for snapshot in [create_snapshots().0, create_snapshots().1, Snapshot::load(&theirs).unwrap()] {
            snapshot.dump(&ours, dump_for(&python)).unwrap();
            let output = script(&python, &["load", ours.to_str().unwrap()]);
            let printed: Value = serde_json::from_str(&output).unwrap();
            assert_eq!(printed["limit"], snapshot.traceback_limit);
            assert_eq!(describe(&Snapshot::load(&ours).unwrap()), printed["traces"], "{}", python.display());
            assert_eq!(printed["traces"].as_array().unwrap().len(), snapshot.traces.len());
        }
    }
}
