//! Reports over the fixture, as text and as JSON.

use crate::fixture;
use crate::support::{Scratch, expect};

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    fixture::recording(scratch.path(), "app.4711.tmq", 1);
    scratch
}

#[test]
fn texts() {
    let scratch = scratch();
    for (name, args) in [
        ("top", &["top"][..]),
        ("top-limit", &["top", "-n", "1"]),
        ("top-end", &["top", "@end"]),
        ("top-mark", &["top", "@mark:loaded", "-n", "0"]),
        ("top-lineno", &["top", "-g", "lineno"]),
        ("top-filename-cumulative", &["top", "-g", "filename", "--cumulative"]),
        ("top-function-inclusive", &["top", "-g", "function", "--inclusive"]),
        ("top-traceback", &["top", "-g", "traceback", "-n", "1"]),
        ("top-thread", &["top", "-g", "thread"]),
        ("top-filter", &["top", "-I", "*/parser.c:4", "-X", "*/io.c"]),
        ("top-nothing", &["top", "@start"]),
        ("top-mmap", &["top", "--domain", "1", "--allocated"]),
        ("leaks", &["leaks"]),
        ("temporary", &["temporary"]),
        ("traceback", &["traceback", "-n", "2", "--frames", "2"]),
        ("traceback-oldest-first", &["traceback", "--frames=-1", "--oldest-first"]),
        ("addr", &["addr", "0x55550010"]),
        ("addr-moment", &["addr", "0x55550010", "@11.5ms"]),
        ("addr-none", &["addr", "0x10"]),
        ("info", &["info"]),
        ("diff-moments", &["diff", "@mark:loaded", "@peak"]),
        ("diff-many", &["diff", "@start", "@20ms", "@peak", "@end"]),
        ("diff-many-limit", &["diff", "@start", "@20ms", "@peak", "@end", "-g", "lineno", "-n", "1"]),
        ("diff-many-tracebacks", &["diff", "@20ms", "@peak", "@end", "-g", "traceback", "-n", "2"]),
        ("diff-many-csv", &["diff", "@start", "@peak", "@end", "-g", "function", "--format", "csv"]),
    ] {
        expect(&format!("report-{name}"), &hide_date(&scratch.run(args).all()));
    }
}

#[test]
fn two_recordings() {
    let scratch = scratch();
    fixture::recording(scratch.path(), "later.tmq", 3);
    expect("report-diff", &scratch.run(&["diff", "app.4711.tmq", "later.tmq"]).ok());
    fixture::recording(scratch.path(), "third.tmq", 2);
    let many = ["diff", "app.4711.tmq@peak", "later.tmq", "third.tmq@start", "third.tmq"];
    expect("report-diff-recordings", &scratch.run(&many).ok());
    expect("report-diff-json", &scratch.run(&["diff", "app.4711.tmq", "later.tmq", "--format", "json"]).ok());
}

#[test]
fn json() {
    let scratch = scratch();
    for (name, args) in [
        ("top", &["top", "-n", "2", "--format", "json"][..]),
        ("top-thread", &["top", "-g", "thread", "--format", "json"]),
        ("leaks", &["leaks", "--format", "json"]),
        ("info", &["info", "--format", "json"]),
    ] {
        let text = scratch.run(args).ok();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        // Compressed sizes depend on the length of the scratch directory's name.
        if let Some(size) = value.get_mut("size_on_disk") {
            assert!(size.as_i64().unwrap() > 0);
            *size = 0.into();
        }
        let pretty = serde_json::to_string_pretty(&value).unwrap() + "\n";
        expect(&format!("json-{name}"), &pretty);
    }
}

#[test]
fn the_sql_behind_a_report_runs() {
    let scratch = scratch();
    for args in [
        &["top"][..],
        &["top", "-g", "lineno", "--cumulative", "-i", "*.c"],
        &["leaks", "-g", "traceback"],
        &["temporary", "-g", "function"],
        &["diff", "@start", "@peak"],
        &["diff", "@start", "@peak", "@end", "-g", "lineno"],
        &["addr", "0x55550010"],
        &["traceback"],
    ] {
        let mut direct: Vec<&str> = args.to_vec();
        direct.extend(["--format", "ndjson"]);
        let mut shown: Vec<&str> = args.to_vec();
        shown.push("--show-sql");
        let sql = scratch.run(&shown).ok();
        let rows = scratch.run_with_input(&["sql", "--format", "ndjson"], &sql).ok();
        let direct = scratch.run(&direct).ok();
        let rows: Vec<serde_json::Value> = rows.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let direct: Vec<serde_json::Value> = direct.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(rows.len(), direct.len(), "{args:?}");
        for (row, direct) in rows.iter().zip(&direct) {
            for (key, value) in direct.as_object().unwrap() {
                assert_eq!(&row[key], value, "{args:?} {key}");
            }
        }
    }
}

#[test]
fn the_newest_recording_is_named_on_stderr() {
    let scratch = scratch();
    fixture::recording(scratch.path(), "newer.tmq", 1);
    let ran = scratch.run(&["top"]);
    assert_eq!(ran.stderr, "tmq: reading newer.tmq\n");
    assert_eq!(scratch.run(&["-q", "top"]).stderr, "");
}

/// Replaces the time at which the fixture was made, and what depends on the Parquet library's version.
fn hide_date(text: &str) -> String {
    let mut shown = String::new();
    for line in text.lines() {
        match line.trim_start().split(' ').next() {
            Some("recorded") => shown += "  recorded     [DATE] on example, for 100.0 ms",
            Some("on") if line.contains("on disk") => shown += "  on disk      [SIZE]",
            _ => shown += line,
        }
        shown.push('\n');
    }
    shown
}
