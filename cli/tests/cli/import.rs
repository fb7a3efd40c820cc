//! Snapshots of Python's tracemalloc: recordings made from them, and snapshots made from recordings.

use std::fs;
use std::process::Command;

use crate::fixture;
use crate::support::{Scratch, expect};

/// A snapshot as CPython dumps it, of two blocks that recur through `r.py` and one of which nothing is known.
const DUMP: &str = "
import sys
from tracemalloc import Snapshot
recursive = (('r.py', 5), ('r.py', 5), ('r.py', 7), ('m.py', 1))
traces = [(0, 100, recursive, 9), (0, int(sys.argv[2]), recursive, 9), (3, 7, (('<unknown>', 0),), 1)]
width = 4 if sys.version_info >= (3, 9) else 3
Snapshot([trace[:width] for trace in traces], 4).dump(sys.argv[1])
";

/// Prints what CPython makes of a snapshot: the rows of `statistics('lineno')`.
const STATISTICS: &str = "
import sys
from tracemalloc import Snapshot
snapshot = Snapshot.load(sys.argv[1])
print('limit', snapshot.traceback_limit)
for s in snapshot.statistics('lineno'):
    print(s.traceback[0].filename, s.traceback[0].lineno, s.size, s.count)
";

fn python(scratch: &Scratch, script: &str, args: &[&str]) -> String {
    let output = Command::new("python3").arg("-c").arg(script).args(args).current_dir(scratch.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().replace(scratch.path().to_str().unwrap(), "[DIR]")
}

#[test]
fn imported_snapshots_answer_like_recordings() {
    let scratch = Scratch::new();
    python(&scratch, DUMP, &["before.pickle", "20"]);
    python(&scratch, DUMP, &["after.pickle", "2000"]);
    expect("import", &scratch.run(&["import", "before.pickle"]).all());
    expect("import-again", &scratch.run(&["import", "before.pickle"]).all());
    scratch.run(&["import", "after.pickle", "-o", "later.tmq"]).ok();
    for (name, args) in [
        ("top", &["top", "before.tmq", "-g", "lineno"][..]),
        ("cumulative", &["top", "before.tmq", "-g", "lineno", "--cumulative"]),
        ("site", &["top", "before.tmq"]),
        ("domain", &["top", "before.tmq", "-g", "lineno", "--domain", "3"]),
        ("diff", &["diff", "before.tmq", "later.tmq", "-g", "filename"]),
        ("traceback", &["traceback", "before.tmq", "--oldest-first"]),
        ("addr", &["addr", "5", "before.tmq"]),
        ("collapsed", &["export", "before.tmq", "--to", "collapsed"]),
        (
            "sql",
            &["sql", "-r", "before.tmq", "--format", "csv", "select * from statistics('lineno', cumulative => true)"],
        ),
        ("info", &["sql", "-r", "before.tmq", "--format", "csv", "select * from traced_memory(), tracer"]),
    ] {
        expect(&format!("import-{name}"), &scratch.run(args).all());
    }
}

#[test]
fn what_is_no_snapshot_is_refused_where_it_stops_being_one() {
    let scratch = Scratch::new();
    python(&scratch, DUMP, &["whole.pickle", "20"]);
    let whole = fs::read(scratch.path().join("whole.pickle")).unwrap();
    fs::write(scratch.path().join("cut.pickle"), &whole[..whole.len() / 2]).unwrap();
    fs::write(scratch.path().join("evil.pickle"), b"\x80\x04cos\nsystem\n(X\x06\x00\x00\x00touch xtR.").unwrap();
    fs::write(scratch.path().join("other.pickle"), b"\x80\x04]\x94.").unwrap();
    fs::write(scratch.path().join("text.pickle"), "hello").unwrap();
    for name in ["cut", "evil", "other", "text", "missing"] {
        let ran = scratch.run(&["import", &format!("{name}.pickle")]);
        assert_eq!(ran.code, 1, "{ran:?}");
        // Where the cut falls depends on the version of Python that dumped.
        if name == "cut" {
            assert!(ran.stderr.contains("is not a snapshot of tracemalloc: byte "), "{ran:?}");
        } else {
            expect(&format!("import-error-{name}"), &ran.all());
        }
        assert!(!scratch.path().join(format!("{name}.tmq")).exists());
    }
    assert!(!scratch.path().join("x").exists());
}

#[test]
fn cpython_loads_what_is_exported() {
    let scratch = Scratch::new();
    fixture::recording(scratch.path(), "app.4711.tmq", 1);
    for (moment, filters, name) in [
        ("@peak", &[][..], "peak"),
        ("@end", &[], "end"),
        ("@peak", &["-I", "*/worker.c", "-x", "*.c:88"], "filter"),
        ("@50ms", &["--domain", "1"], "mmap"),
    ] {
        let mut args = vec!["export", "--format", "tracemalloc", "-o", "app.pickle", moment];
        args.extend(filters);
        scratch.run(&args).ok();
        let theirs = python(&scratch, STATISTICS, &["app.pickle"]);
        let mut args = vec!["top", moment, "-g", "lineno", "--format", "json"];
        args.extend(filters);
        let ours: serde_json::Value = serde_json::from_str(&scratch.run(&args).ok()).unwrap();
        let ours: String = ours
            .as_array()
            .unwrap()
            .iter()
            .map(|r| format!("{} {} {} {}\n", r["filename"].as_str().unwrap(), r["lineno"], r["size"], r["count"]))
            .collect();
        let (limit, rows) = theirs.split_once('\n').unwrap();
        assert_eq!((limit, rows), ("limit 4", ours.as_str()), "{name}");
        assert!(!rows.is_empty(), "{name}");
    }
}

#[test]
fn a_snapshot_survives_the_way_there_and_back() {
    let scratch = Scratch::new();
    fixture::recording(scratch.path(), "app.4711.tmq", 1);
    scratch.run(&["export", "app.4711.tmq", "--to", "tracemalloc", "-o", "app.pickle"]).ok();
    scratch.run(&["import", "app.pickle", "-o", "back.tmq"]).ok();
    let top = |recording| scratch.run(&["top", recording, "-g", "traceback", "--format", "csv"]).ok();
    let numbers = |text: String| {
        let rows = text.lines().skip(1).map(|line| line.split(',').skip(5).take(2).collect::<Vec<_>>().join(" "));
        rows.collect::<Vec<_>>()
    };
    let (there, back) = (numbers(top("app.4711.tmq")), numbers(top("back.tmq")));
    assert_eq!(there, back);
    assert_eq!(there.len(), 3, "{there:?}");
}

#[test]
fn options_of_snapshots_are_for_snapshots() {
    let scratch = Scratch::new();
    fixture::recording(scratch.path(), "app.4711.tmq", 1);
    for (name, args) in [
        ("allocated", &["export", "--to", "tracemalloc", "--allocated"][..]),
        ("python", &["export", "--to", "collapsed", "--python", "3.6"]),
        ("blocks", &["export", "--to", "tracemalloc", "--blocks"]),
    ] {
        let ran = scratch.run(args);
        assert_eq!(ran.code, 2, "{ran:?}");
        expect(&format!("export-error-{name}"), &ran.all());
    }
    for (version, width) in [("3.4", 2), ("3.6", 3), ("3.9", 4)] {
        scratch.run(&["export", "--to", "tracemalloc", "--python", version, "-o", "app.pickle"]).ok();
        let script = "import sys, tracemalloc; print(len(tracemalloc.Snapshot.load(sys.argv[1]).traces._traces[0]))";
        assert_eq!(python(&scratch, script, &["app.pickle"]).trim(), width.to_string());
    }
}
