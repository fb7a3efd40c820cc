//! How traces, tracebacks and statistics are written.

use tmq_query::tracemalloc::{Frame, KeyType, Order, SourceFiles, Traceback};

use super::data::{create_snapshots, traceback};
use crate::support::Scratch;

#[test]
fn statistics_are_written_as_cpython_does() {
    let (s1, s2) = create_snapshots();
    // Before 3.7 a traceback is named by its most recent frame.
    assert_eq!(s1.traces[0].to_string(), "a.py:2: 10 B");
    assert_eq!(s1.traces[0].text(Order::OldestFirst), "b.py:4: 10 B");
    assert!(format!("{:?}", s1.traces[0]).starts_with("<Trace domain=0 size=10 B, traceback=<Traceback ("));
    let stat = &s1.statistics(KeyType::Lineno, false).unwrap()[0];
    assert_eq!(stat.to_string(), "b.py:1: size=66 B, count=1, average=66 B");
    assert_eq!(
        format!("{stat:?}"),
        "<Statistic traceback=<Traceback (<Frame filename='b.py' lineno=1>,)> size=66 count=1>"
    );
    let diffs = s2.compare_to(&s1, KeyType::Lineno, false).unwrap();
    assert_eq!(diffs[0].to_string(), "a.py:5: size=5002 B (+5000 B), count=2 (+1), average=2501 B");
    assert_eq!(diffs[2].to_string(), "b.py:1: size=0 B (-66 B), count=0 (-1)");
    assert_eq!(diffs[4].to_string(), "a.py:2: size=30 B (+0 B), count=3 (+0), average=10 B");
    assert!(format!("{:?}", diffs[2]).ends_with("size=0 (-66) count=0 (-1)>"));
    let files = s1.statistics(KeyType::Filename, false).unwrap();
    assert_eq!(files[1].to_string(), "a.py:0: size=32 B, count=4, average=8 B");
    let stacks = s1.statistics(KeyType::Traceback, false).unwrap();
    assert_eq!(stacks[1].text(Order::OldestFirst), "b.py:4: size=30 B, count=3, average=10 B");
}

#[test]
fn tracebacks_are_written_as_cpython_does() {
    assert_eq!(format!("{:?}", traceback(&[])), "<Traceback ()>");
    assert_eq!(format!("{:?}", traceback(&[]).with_total(Some(0))), "<Traceback () total_nframe=0>");
    assert_eq!(
        format!("{:?}", traceback(&[("f1", 1), ("f2", 2)]).with_total(Some(2))),
        "<Traceback (<Frame filename='f1' lineno=1>, <Frame filename='f2' lineno=2>) total_nframe=2>"
    );
    assert_eq!(Frame::new("a.py", 2).to_string(), "a.py:2");
    assert_eq!(traceback(&[("a.py", 2)]), traceback(&[("a.py", 2)]).with_total(Some(7)));
}

#[test]
fn formats_have_source_lines() {
    let mut source = |file: &str, line: i32| Some(format!("  <{file}, {line}>\n"));
    let frames = traceback(&[("a.py", 2), ("b.py", 4)]);
    let a = ["  File \"a.py\", line 2", "    <a.py, 2>"];
    let b = ["  File \"b.py\", line 4", "    <b.py, 4>"];
    let both = |x: [&'static str; 2], y: [&'static str; 2]| [x, y].concat();
    assert_eq!(frames.format(None, &mut source), both(a, b));
    assert_eq!(frames.format(Some(1), &mut source), a);
    assert!(frames.format(Some(-1), &mut source).is_empty());
    assert_eq!(frames.format_since_37(None, false, &mut source), both(b, a));
    assert_eq!(frames.format_since_37(Some(1), false, &mut source), a);
    assert_eq!(frames.format_since_37(Some(-1), false, &mut source), b);
    assert_eq!(frames.format_since_37(None, true, &mut source), both(a, b));
    assert_eq!(frames.format_since_37(Some(1), true, &mut source), a);
    assert_eq!(frames.format_since_37(Some(-1), true, &mut source), b);
}

#[test]
fn limits_are_cpythons_in_both_orders() {
    // e is the most recent frame.
    let stack: Traceback = traceback(&[("e", 1), ("d", 1), ("c", 1), ("b", 1), ("a", 1)]);
    let mut none = |_: &str, _: i32| None;
    let letters = |lines: Vec<String>| lines.iter().map(|l| l[8..9].to_owned()).collect::<String>();
    for (limit, before, since, recent_first) in [
        (None, "edcba", "abcde", "edcba"),
        (Some(1), "e", "e", "e"),
        (Some(2), "ed", "de", "ed"),
        (Some(9), "edcba", "abcde", "edcba"),
        (Some(0), "", "", ""),
        (Some(-1), "", "abcd", "dcba"),
        (Some(-2), "", "abc", "cba"),
        (Some(-5), "", "", ""),
        (Some(-9), "", "", ""),
    ] {
        assert_eq!(letters(stack.format(limit, &mut none)), before, "{limit:?}");
        assert_eq!(letters(stack.format_since_37(limit, false, &mut none)), since, "{limit:?}");
        assert_eq!(letters(stack.format_since_37(limit, true, &mut none)), recent_first, "{limit:?}");
    }
}

#[test]
fn source_files_are_read_and_missing_ones_are_not() {
    let scratch = Scratch::new();
    let path = scratch.join("a.py");
    std::fs::write(&path, b"first\n   \n\tthird \xff\n").unwrap();
    let name = path.to_str().unwrap();
    let mut files = SourceFiles::default();
    let stack = traceback(&[(name, 3), (name, 2), (name, 9), ("/nowhere", 1), ("/", 1)]);
    let lines = stack.format(None, &mut files);
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[1], "    third \u{fffd}");
}
