//! Dumps of every CPython load, and every CPython loads ours.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tmq_query::Error;
use tmq_query::tracemalloc::{DumpFor, Snapshot};

use super::data::create_snapshots;
use super::differential::{pythons, script};
use crate::support::Scratch;
use crate::support::generate::Random;

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

/// One change: bytes overwritten, removed, repeated or taken from elsewhere, instructions put between others, lengths
/// and numbers that lie.
fn damage(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    const INSTRUCTIONS: &[u8] =
        b".(012NJKMG\x8a\x8bX\x8c\x8dCB\x8e\x96)t\x85\x86\x87]lae}dsuqrhjpg\x94c\x93\x81b\x8f\x90\x91";
    const LIES: &[u8] = b"\x8d\x8e\x96\x95XB\x8bjr";
    let at = random.below(bytes.len() + 1);
    let length = 1 + random.below(200);
    let end = (at + length).min(bytes.len());
    match random.below(8) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, INSTRUCTIONS[random.below(INSTRUCTIONS.len())]),
        2 => {
            let lie = [&LIES[random.below(LIES.len())..][..1], &[0xff, 0xff, 0xff, 0x7f], &[0xff, 0xff, 0xff, 0x7f]];
            bytes.splice(at..at, lie.concat());
        }
        3 => drop(bytes.drain(at..end)),
        4 => {
            let from = random.below(other.len());
            let piece = &other[from..(from + length).min(other.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
        5 => {
            let piece = bytes[at..end].repeat(1 + random.below(20));
            bytes.splice(at..at, piece);
        }
        _ => {
            for byte in bytes.iter_mut().skip(at).take(1 + random.below(4)) {
                *byte = random.below(256) as u8;
            }
        }
    }
}

/// Valid dumps: ours for every CPython, and one of each CPython that there is.
fn valid_dumps() -> Vec<Vec<u8>> {
    let mut dumps = Vec::new();
    let (one, two) = create_snapshots();
    for snapshot in [one, two] {
        for python in [DumpFor::Python39, DumpFor::Python36, DumpFor::Python34] {
            let mut bytes = Vec::new();
            snapshot.dump_to(&mut bytes, python).unwrap();
            dumps.push(bytes);
        }
    }
    let scratch = Scratch::new();
    let path = scratch.join("dump.pickle");
    for python in pythons() {
        script(&python, &["dump", path.to_str().unwrap()]);
        dumps.push(std::fs::read(&path).unwrap());
    }
    dumps
}

/// A reader that believed a length would end the process by asking for so much memory.
#[test]
fn damaged_dumps_load_or_say_where_they_are_damaged() {
    let dumps = valid_dumps();
    let mut random = Random(7);
    let (mut loaded, mut refused) = (0, 0);
    for round in 0..4000 {
        let mut bytes = dumps[round % dumps.len()].clone();
        for _ in 0..=random.below(4) {
            let other = random.below(dumps.len());
            damage(&mut bytes, &dumps[other], &mut random);
        }
        match Snapshot::load_bytes(&bytes) {
            Ok(snapshot) => {
                assert!(snapshot.traces.len() <= bytes.len(), "round {round}");
                loaded += 1;
            }
            Err(Error::Pickle { offset, reason, .. }) => {
                assert!(offset <= bytes.len() as u64 && !reason.is_empty(), "round {round}: {offset} {reason}");
                refused += 1;
            }
            Err(other) => panic!("round {round}: {other}"),
        }
    }
    assert!(loaded > 20 && refused > 1000, "{loaded} loaded, {refused} refused");
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
