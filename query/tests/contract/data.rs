//! Snapshots, statistics, differences and filters of `create_snapshots()`.

use tmq_query::tracemalloc::{
    AnyFilter, ContractError, DomainFilter, Filter, Frame, KeyType, Pattern, Snapshot, Trace, Traceback,
    normalize_filename,
};

pub(super) fn traceback(frames: &[(&str, i32)]) -> Traceback {
    Traceback::new(frames.iter().map(|(file, line)| Frame::new(*file, *line)).collect())
}

pub(super) fn trace(domain: i32, size: i64, frames: &[(&str, i32)], total: u32) -> Trace {
    Trace { domain, size, traceback: traceback(frames).with_total(Some(total)) }
}

/// The two snapshots of CPython's tests; frames are most recent first.
pub(super) fn create_snapshots() -> (Snapshot, Snapshot) {
    let a2 = [("a.py", 2), ("b.py", 4)];
    let a5 = [("a.py", 5), ("b.py", 4)];
    let first = vec![
        trace(0, 10, &a2, 3),
        trace(0, 10, &a2, 3),
        trace(0, 10, &a2, 3),
        trace(1, 2, &a5, 3),
        trace(2, 66, &[("b.py", 1)], 1),
        trace(3, 7, &[("<unknown>", 0)], 1),
    ];
    let second = vec![
        trace(0, 10, &a2, 3),
        trace(0, 10, &a2, 3),
        trace(0, 10, &a2, 3),
        trace(2, 2, &a5, 3),
        trace(2, 5000, &a5, 3),
        trace(4, 400, &[("c.py", 578)], 1),
    ];
    (Snapshot::new(first, 2), Snapshot::new(second, 2))
}

#[test]
fn snapshots_have_their_traces() {
    let snapshot = Snapshot::new(vec![trace(0, 5, &[("a.py", 2)], 1)], 1);
    assert_eq!((snapshot.traceback_limit, snapshot.traces.len()), (1, 1));
    let trace = &snapshot.traces[0];
    assert_eq!((trace.domain, trace.size, trace.traceback.total_nframe), (0, 5, Some(1)));
    assert_eq!(trace.traceback.frames(), [Frame::new("a.py", 2)]);
    assert!(snapshot.traces.contains(&trace.clone()));
}

#[test]
fn filter_attributes_are_cpythons() {
    let mut filter = Filter::new(true, "abc");
    assert_eq!((filter.inclusive, filter.filename_pattern(), filter.lineno), (true, "abc", None));
    assert!(!filter.all_frames && filter.domain.is_none());
    (filter.inclusive, filter.lineno, filter.all_frames) = (false, Some(42), true);
    assert!(!filter.match_frame(&Frame::new("abc", 42)) && filter.match_frame(&Frame::new("abc", 41)));
    let filter = Filter::new(false, "test.py").lineno(123).all_frames().domain(1);
    assert_eq!((filter.lineno, filter.all_frames, filter.domain), (Some(123), true, Some(1)));
}

fn frames(traceback: &Traceback) -> String {
    traceback.frames().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn statistics(snapshot: &Snapshot, key: KeyType, cumulative: bool) -> Vec<String> {
    let rows = snapshot.statistics(key, cumulative).unwrap();
    rows.iter().map(|s| format!("{}|{}|{}", frames(&s.traceback), s.size, s.count)).collect()
}

fn changes(new: &Snapshot, old: &Snapshot, key: KeyType) -> Vec<String> {
    let rows = new.compare_to(old, key, false).unwrap();
    rows.iter()
        .map(|s| format!("{}|{}|{:+}|{}|{:+}", frames(&s.traceback), s.size, s.size_diff, s.count, s.count_diff))
        .collect()
}

#[test]
fn groups_are_cpythons() {
    let (s1, s2) = create_snapshots();
    assert_eq!(
        statistics(&s1, KeyType::Lineno, false),
        ["b.py:1|66|1", "a.py:2|30|3", "<unknown>:0|7|1", "a.py:5|2|1"]
    );
    assert_eq!(statistics(&s2, KeyType::Lineno, false), ["a.py:5|5002|2", "c.py:578|400|1", "a.py:2|30|3"]);
    assert_eq!(statistics(&s1, KeyType::Filename, false), ["b.py:0|66|1", "a.py:0|32|4", "<unknown>:0|7|1"]);
    assert_eq!(statistics(&s2, KeyType::Filename, false), ["a.py:0|5032|5", "c.py:0|400|1"]);
    assert_eq!(
        statistics(&s1, KeyType::Traceback, false),
        ["b.py:1|66|1", "a.py:2 b.py:4|30|3", "<unknown>:0|7|1", "a.py:5 b.py:4|2|1"]
    );
    assert_eq!(
        statistics(&s2, KeyType::Traceback, false),
        ["a.py:5 b.py:4|5002|2", "c.py:578|400|1", "a.py:2 b.py:4|30|3"]
    );
    assert_eq!(statistics(&s1, KeyType::Filename, true), ["b.py:0|98|5", "a.py:0|32|4", "<unknown>:0|7|1"]);
    assert_eq!(
        statistics(&s1, KeyType::Lineno, true),
        ["b.py:1|66|1", "b.py:4|32|4", "a.py:2|30|3", "<unknown>:0|7|1", "a.py:5|2|1"]
    );
}

#[test]
fn changes_are_cpythons() {
    let (s1, s2) = create_snapshots();
    assert_eq!(
        changes(&s2, &s1, KeyType::Lineno),
        [
            "a.py:5|5002|+5000|2|+1",
            "c.py:578|400|+400|1|+1",
            "b.py:1|0|-66|0|-1",
            "<unknown>:0|0|-7|0|-1",
            "a.py:2|30|+0|3|+0"
        ]
    );
    assert_eq!(
        changes(&s2, &s1, KeyType::Filename),
        ["a.py:0|5032|+5000|5|+1", "c.py:0|400|+400|1|+1", "b.py:0|0|-66|0|-1", "<unknown>:0|0|-7|0|-1"]
    );
    assert_eq!(
        changes(&s2, &s1, KeyType::Traceback),
        [
            "a.py:5 b.py:4|5002|+5000|2|+1",
            "c.py:578|400|+400|1|+1",
            "b.py:1|0|-66|0|-1",
            "<unknown>:0|0|-7|0|-1",
            "a.py:2 b.py:4|30|+0|3|+0"
        ]
    );
}

#[test]
fn errors_are_cpythons() {
    let (s1, s2) = create_snapshots();
    let error = s1.statistics(KeyType::Traceback, true).unwrap_err();
    assert_eq!(error.to_string(), "cumulative mode cannot by used with key type 'traceback'");
    assert_eq!(s1.compare_to(&s2, KeyType::Traceback, true), Err(ContractError::CumulativeTraceback));
    assert_eq!("line".parse::<KeyType>().unwrap_err().to_string(), "unknown key_type: 'line'");
    let empty = Snapshot::new(vec![trace(0, 1, &[], 0)], 1);
    assert_eq!(empty.statistics(KeyType::Filename, false), Err(ContractError::EmptyTraceback));
    assert_eq!(empty.statistics(KeyType::Lineno, false).unwrap().len(), 1);
    assert_eq!(empty.statistics(KeyType::Lineno, true).unwrap(), []);
}

#[test]
fn recursion_counts_as_often_as_it_occurs() {
    let stack = [("r.py", 5), ("r.py", 5), ("r.py", 7), ("m.py", 1)];
    let snapshot = Snapshot::new(vec![trace(0, 100, &stack, 4)], 4);
    assert_eq!(statistics(&snapshot, KeyType::Lineno, true), ["r.py:5|200|2", "r.py:7|100|1", "m.py:1|100|1"]);
    assert_eq!(statistics(&snapshot, KeyType::Filename, true), ["r.py:0|300|3", "m.py:0|100|1"]);
}

#[test]
fn ties_fall_from_the_largest_key() {
    let one = |file, line| trace(0, 8, &[(file, line)], 1);
    let lines = Snapshot::new(vec![one("a.py", 1), one("a.py", 10), one("a.py", 2)], 1);
    assert_eq!(statistics(&lines, KeyType::Lineno, false), ["a.py:10|8|1", "a.py:2|8|1", "a.py:1|8|1"]);
    let files = Snapshot::new(vec![one("B.py", 1), one("a.py", 1), one("é.py", 1), one("b.py", 1)], 1);
    assert_eq!(statistics(&files, KeyType::Filename, false), ["é.py:0|8|1", "b.py:0|8|1", "a.py:0|8|1", "B.py:0|8|1"]);
}

fn kept(snapshot: &Snapshot, filters: &[AnyFilter]) -> Vec<(i32, i64, String)> {
    let filtered = snapshot.filter_traces(filters);
    assert_eq!(filtered.traceback_limit, snapshot.traceback_limit);
    filtered.traces.iter().map(|t| (t.domain, t.size, frames(&t.traceback))).collect()
}

/// The traces of the first snapshot with these numbers.
fn numbers(snapshot: &Snapshot, numbers: &[usize]) -> Vec<(i32, i64, String)> {
    let rows = numbers.iter().map(|i| &snapshot.traces[*i]);
    rows.map(|t| (t.domain, t.size, frames(&t.traceback))).collect()
}

#[test]
fn filters_are_cpythons() {
    let (s1, _) = create_snapshots();
    let b: AnyFilter = Filter::new(false, "b.py").into();
    let lines: [AnyFilter; 2] =
        [Filter::new(true, "a.py").lineno(2).into(), Filter::new(true, "a.py").lineno(5).into()];
    assert_eq!(kept(&s1, std::slice::from_ref(&b)), numbers(&s1, &[0, 1, 2, 3, 5]));
    assert_eq!(kept(&s1.filter_traces(&[b]), &lines), numbers(&s1, &[0, 1, 2, 3]));
    assert_eq!(kept(&s1, &[]), numbers(&s1, &[0, 1, 2, 3, 4, 5]));
    assert_eq!(kept(&s1, &[Filter::new(false, "a.py").domain(1).into()]), numbers(&s1, &[0, 1, 2, 4, 5]));
    assert_eq!(kept(&s1, &[Filter::new(true, "a.py").domain(1).into()]), numbers(&s1, &[3]));
    let domain = |inclusive| AnyFilter::from(DomainFilter { inclusive, domain: 3 });
    assert_eq!(kept(&s1, &[domain(false)]), numbers(&s1, &[0, 1, 2, 3, 4]));
    assert_eq!(kept(&s1, &[domain(true)]), numbers(&s1, &[5]));
    // Inclusive filters of both kinds are alternatives.
    assert_eq!(kept(&s1, &[domain(true), Filter::new(true, "b.py").into()]), numbers(&s1, &[4, 5]));
}

#[test]
fn match_frame_is_cpythons() {
    for (inclusive, line, expected) in [
        (true, None, "TTTFFF"),
        (false, None, "FFFTTT"),
        (true, Some(5), "FTFFFF"),
        (false, Some(5), "TFTTTT"),
        (true, Some(0), "TFFFFF"),
        (false, Some(0), "FTTTTT"),
    ] {
        let mut filter = Filter::new(inclusive, "abc");
        filter.lineno = line;
        let got: String = [("abc", 0), ("abc", 5), ("abc", 10), ("12356", 0), ("12356", 5), ("12356", 10)]
            .iter()
            .map(|(file, line)| if filter.match_frame(&Frame::new(*file, *line)) { 'T' } else { 'F' })
            .collect();
        assert_eq!(got, expected, "{filter:?}");
    }
}

#[test]
fn match_traceback_is_cpythons() {
    let stacks: [&[(&str, i32)]; 4] = [
        &[("a.py", 2), ("b.py", 3)],
        &[("b.py", 4), ("b.py", 5)],
        &[("c.py", 5), ("<unknown>", 0)],
        &[("<unknown>", 0)],
    ];
    for (inclusive, pattern, all, expected) in [
        (true, "b.py", true, "TTFF"),
        (true, "b.py", false, "FTFF"),
        (false, "b.py", true, "FFTT"),
        (false, "b.py", false, "TFTT"),
        (false, "<unknown>", false, "TTTF"),
        (true, "<unknown>", true, "FFTT"),
        (false, "<unknown>", true, "TTFF"),
    ] {
        let mut filter = Filter::new(inclusive, pattern);
        filter.all_frames = all;
        let got: String = stacks
            .iter()
            .map(|frames| if filter.match_traceback(traceback(frames).frames()) { 'T' } else { 'F' })
            .collect();
        assert_eq!(got, expected, "{filter:?}");
    }
}

#[test]
fn jokers_are_cpythons() {
    let matches =
        |pattern: &str, file: &str| Pattern::new(normalize_filename(pattern)).matches(normalize_filename(file));
    for (pattern, file) in [
        ("", ""),
        ("*", ""),
        ("abc", "abc"),
        ("a*", "abc"),
        ("abc*", "abc"),
        ("a*c", "abc"),
        ("a*cx", "abcdcx"),
        ("a*c*e", "abcde"),
        ("a*bd*eg", "abcbdefeg"),
        ("a.py", "a.pyc"),
        ("a.pyc", "a.py"),
    ] {
        assert!(matches(pattern, file), "{pattern} {file}");
    }
    for (pattern, file) in [
        ("", "abc"),
        ("abc", ""),
        ("abcd", "abc"),
        ("def", "abc"),
        ("b*", "abc"),
        ("abcd*", "abc"),
        ("a*c", "abb"),
        ("a*cx", "abcdce"),
        ("a*c*e", "abcdd"),
        ("a*bd*eg", "abcbdefef"),
        ("ABc", "aBC"),
        ("Ab*dE", "aBcDe"),
        ("a.PY", "a.pyc"),
        ("a.PYC", "a.py"),
        ("a\\b", "a/b"),
        ("a.py", "a.pyo"),
        ("a[b].py", "a[b].py"),
    ] {
        assert!(!matches(pattern, file), "{pattern} {file}");
    }
    assert_eq!(Filter::new(true, "/x/ABC.pyc").filename_pattern(), "/x/ABC.py");
}
