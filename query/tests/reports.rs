//! Every report against answers computed row by row from what the generator made.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use tmq_query::report::{
    Address, Diff, DomainFilter, Filters, FrameFilter, GroupBy, Groups, Measure, Mode, Report, Side, Subject,
};
use tmq_query::tracemalloc::{Pattern, normalize_filename};
use tmq_query::{Moment, RecordingRef, Session};
use tmq_store::schema::{AllocationsRow, FramesRow};

use crate::support::{Generated, Scratch, Shape, empty_session, generate, rows, session_of, texts};

/// A group's key: columns in the order in which ties are broken.
type Key = Vec<Part>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Text(String),
    Number(i64),
    /// File, line and, where the line is unknown, function.
    Lines(Vec<(String, i32, String)>),
}

const MEASURES: [Measure; 6] = [
    Measure::Live(Moment::Peak),
    Measure::Live(Moment::End),
    Measure::Live(Moment::Start),
    Measure::Live(Moment::Share(0.8)),
    Measure::Live(Moment::At(60_000)),
    Measure::Allocated,
];

fn module(made: &Generated, frame: &FramesRow) -> String {
    made.modules.iter().find(|m| m.module_id == frame.module_id).map_or("<unknown>".to_owned(), |m| m.name.clone())
}

fn module_path(made: &Generated, frame: &FramesRow) -> String {
    made.modules.iter().find(|m| m.module_id == frame.module_id).map_or("<unknown>".to_owned(), |m| m.path.clone())
}

fn at(made: &Generated, moment: &Moment) -> i64 {
    match moment {
        Moment::Peak => made.peak_ns,
        Moment::At(ns) => *ns,
        Moment::Share(share) => (made.end_ns as f64 * share).round() as i64,
        Moment::Mark(_) => made.mark_ns,
        Moment::Start | Moment::End => unreachable!(),
    }
}

fn counts(made: &Generated, measure: &Measure, a: &AllocationsRow) -> bool {
    match measure {
        Measure::Allocated => true,
        Measure::Live(Moment::Start) => false,
        Measure::Live(Moment::End) => a.free_ns.is_none(),
        Measure::Live(moment) => {
            let t = at(made, moment);
            let ended = made.processes[a.process_id as usize].end_ns;
            a.alloc_ns <= t && a.free_ns.is_none_or(|f| f > t) && ended.is_none_or(|e| e > t)
        }
        Measure::Temporary => panic!("not known from rows"),
    }
}

fn frame_key(made: &Generated, group_by: GroupBy, frame: &FramesRow) -> Key {
    let text = |s: &str| Part::Text(s.to_owned());
    let line = Part::Number(i64::from(frame.line));
    match group_by {
        GroupBy::Site => vec![text(&frame.function), text(&frame.file), line, Part::Text(module(made, frame))],
        GroupBy::Lineno => vec![text(&frame.file), line],
        GroupBy::Filename => vec![text(&frame.file)],
        GroupBy::Function => vec![text(&frame.function), Part::Text(module(made, frame))],
        GroupBy::Module => vec![Part::Text(module(made, frame))],
        _ => unreachable!(),
    }
}

fn keys(made: &Generated, group_by: GroupBy, mode: Mode, a: &AllocationsRow) -> Vec<Key> {
    let stack = &made.stacks[a.stack_id as usize];
    let frames = || stack.frames.iter().map(|f| &made.frames[*f as usize]);
    let number = |n: i64| vec![vec![Part::Number(n)]];
    match group_by {
        GroupBy::Traceback => {
            let function = |f: &FramesRow| if f.line == 0 { f.function.clone() } else { String::new() };
            vec![vec![Part::Lines(frames().map(|f| (f.file.clone(), f.line, function(f))).collect())]]
        }
        GroupBy::Thread => number(i64::from(a.thread_id)),
        GroupBy::Process => number(i64::from(a.process_id)),
        GroupBy::Domain => number(i64::from(a.domain)),
        GroupBy::Kind => vec![vec![Part::Text(a.kind.to_owned())]],
        GroupBy::Size => number(if a.size <= 1 { a.size } else { (a.size as u64).next_power_of_two() as i64 }),
        _ => {
            let all = frames().map(|f| frame_key(made, group_by, f));
            match mode {
                Mode::MostRecent => {
                    let seeds = matches!(group_by, GroupBy::Lineno | GroupBy::Filename);
                    let leaf = if seeds { stack.leaf_frame_id } else { stack.user_leaf_frame_id };
                    vec![frame_key(made, group_by, &made.frames[leaf as usize])]
                }
                Mode::Cumulative => all.collect(),
                Mode::Inclusive => all.collect::<BTreeSet<_>>().into_iter().collect(),
            }
        }
    }
}

fn filter_matches(made: &Generated, group_by: GroupBy, filter: &FrameFilter, a: &AllocationsRow) -> bool {
    let stack = &made.stacks[a.stack_id as usize];
    let seeds = matches!(group_by, GroupBy::Lineno | GroupBy::Filename | GroupBy::Traceback);
    let leaf = if seeds { stack.leaf_frame_id } else { stack.user_leaf_frame_id };
    if filter.domain.is_some_and(|domain| domain != a.domain) {
        return false;
    }
    let frames = if filter.any_frame { stack.frames.clone() } else { vec![leaf] };
    frames.iter().map(|f| &made.frames[*f as usize]).any(|f| match filter.subject {
        Subject::File => {
            Pattern::new(normalize_filename(&filter.pattern)).matches(normalize_filename(&f.file))
                && filter.line.is_none_or(|l| l == f.line)
        }
        Subject::Function => Pattern::new(&filter.pattern).matches(&f.function),
        Subject::Module => {
            let pattern = Pattern::new(&filter.pattern);
            pattern.matches(&module(made, f)) || pattern.matches(&module_path(made, f))
        }
    })
}

fn kept(made: &Generated, group_by: GroupBy, filters: &Filters, a: &AllocationsRow) -> bool {
    let mut inclusive = false;
    let mut included = false;
    let mut asked = false;
    for f in &filters.frames {
        let hit = filter_matches(made, group_by, f, a);
        if f.inclusive {
            inclusive = true;
            asked |= f.domain.is_some();
            included |= hit;
        } else if hit {
            return false;
        }
    }
    for d in &filters.domains {
        let hit = d.domain == a.domain;
        if d.inclusive {
            (inclusive, asked) = (true, true);
            included |= hit;
        } else if hit {
            return false;
        }
    }
    let heap = asked || group_by == GroupBy::Domain || a.domain == 0;
    heap && (!inclusive || included)
}

/// Key, bytes, blocks.
fn sums(made: &Generated, measure: &Measure, groups: &Groups) -> BTreeMap<Key, (f64, f64)> {
    let mut sums: BTreeMap<Key, (f64, f64)> = BTreeMap::new();
    for a in made.allocations.iter().filter(|a| counts(made, measure, a)) {
        if !kept(made, groups.group_by, &groups.filters, a) {
            continue;
        }
        for key in keys(made, groups.group_by, groups.mode, a) {
            let sum = sums.entry(key).or_default();
            sum.0 += a.size as f64 * a.weight;
            sum.1 += a.weight;
        }
    }
    sums
}

fn expected(made: &Generated, groups: &Groups) -> Vec<(Key, i64, i64)> {
    let mut all: Vec<_> = sums(made, &groups.measure, groups)
        .into_iter()
        .map(|(key, (bytes, blocks))| (key, bytes.round() as i64, blocks.round() as i64))
        .collect();
    all.sort_by_key(|(key, size, count)| Reverse((*size, *count, key.clone())));
    all
}

/// What can be seen of a key in a row of a report.
fn seen(group_by: GroupBy, row: &[String]) -> String {
    let (filename, lineno, function, module, label) = (&row[0], &row[1], &row[2], &row[3], &row[4]);
    match group_by {
        GroupBy::Site => format!("{function}|{filename}|{lineno}|{module}"),
        GroupBy::Lineno => format!("{filename}|{lineno}"),
        GroupBy::Filename => filename.clone(),
        GroupBy::Function => format!("{function}|{module}"),
        GroupBy::Module => module.clone(),
        GroupBy::Traceback => row[row.len() - 1].clone(),
        _ => label.clone(),
    }
}

fn shown(made: &Generated, group_by: GroupBy, key: &Key) -> String {
    let text = |p: &Part| match p {
        Part::Text(t) => t.clone(),
        Part::Number(n) => n.to_string(),
        Part::Lines(_) => unreachable!(),
    };
    match (group_by, &key[0]) {
        (_, Part::Lines(_)) => String::new(),
        (GroupBy::Thread, Part::Number(n)) => {
            let thread = &made.threads[*n as usize];
            let pid = made.processes[thread.process_id as usize].pid;
            format!("{} (thread {} of process {pid})", thread.name, thread.tid)
        }
        (GroupBy::Process, Part::Number(n)) => {
            let process = &made.processes[*n as usize];
            format!("{} (process {})", process.exe, process.pid)
        }
        (GroupBy::Size, Part::Number(n)) => {
            format!("up to {}", tmq_query::tracemalloc::format_size(*n as f64, false))
        }
        _ => key.iter().map(text).collect::<Vec<_>>().join("|"),
    }
}

async fn run(session: &Session, report: &Report) -> Vec<Vec<String>> {
    let sql = session.report_sql(report).unwrap();
    let rows = session.report(report).await.unwrap_or_else(|e| panic!("{e}\n{sql}"));
    texts(&rows.collect().await.unwrap_or_else(|e| panic!("{e}\n{sql}")))
}

async fn check(session: &Session, made: &Generated, groups: &Groups) {
    let report = Report::Groups(groups.clone());
    let got = run(session, &report).await;
    let want = expected(made, groups);
    let lines = |key: &Key| match &key[0] {
        Part::Lines(lines) => lines.clone(),
        _ => Vec::new(),
    };
    assert_eq!(got.len(), want.len(), "{groups:?}");
    for (got, (key, size, count)) in got.iter().zip(&want) {
        assert_eq!((&got[5], &got[6]), (&size.to_string(), &count.to_string()), "{groups:?} {key:?} {got:?}");
        if groups.group_by == GroupBy::Traceback {
            let frames: Vec<String> =
                lines(key).iter().map(|(file, line, _)| format!("{{filename: {file}, lineno: {line}, ")).collect();
            let all = frames.iter().try_fold(got[10].as_str(), |rest, f| rest.split_once(f.as_str()).map(|s| s.1));
            assert!(all.is_some(), "{key:?} {got:?}");
            assert_eq!(got[10].matches("{filename").count(), frames.len());
        } else {
            assert_eq!(seen(groups.group_by, got), shown(made, groups.group_by, key), "{groups:?}");
        }
    }
}

fn modes(group_by: GroupBy) -> Vec<Mode> {
    match group_by.is_frame() {
        true => vec![Mode::MostRecent, Mode::Cumulative, Mode::Inclusive],
        false => vec![Mode::MostRecent],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_grouping_mode_and_measure() {
    for sampled in [false, true] {
        let (_scratch, made, session) = session_of(&Shape { sampled, allocations: 1500, ..Shape::default() });
        for group_by in GroupBy::ALL {
            for mode in modes(group_by) {
                for measure in MEASURES {
                    let groups = Groups { group_by, mode, measure, limit: None, ..Groups::default() };
                    check(&session, &made, &groups).await;
                }
            }
        }
    }
}

fn filter(text: &str) -> FrameFilter {
    let (flag, rest) = text.split_at(1);
    let (inclusive, any) = match flag {
        "i" => (true, false),
        "I" => (true, true),
        "x" => (false, false),
        _ => (false, true),
    };
    FrameFilter::parse(inclusive, any, rest).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_keep_what_the_algebra_says() {
    let (_scratch, made, session) = session_of(&Shape { allocations: 1500, ..Shape::default() });
    let domain = |inclusive, domain| DomainFilter { inclusive, domain };
    for (frames, domains) in [
        (vec!["i*.c"], vec![]),
        (vec!["x*.c"], vec![]),
        (vec!["I*file_1*.c"], vec![]),
        (vec!["X*file_1*.c", "i/src/*"], vec![]),
        (vec!["i*mod_3.pyc"], vec![]),
        (vec!["ifunction:ns::func_1*", "xmodule:libc.*"], vec![]),
        (vec!["Imodule:/lib/*", "ifunction:*2*"], vec![]),
        (vec!["i*.py:3", "I*.c:4"], vec![]),
        (vec!["i<unknown>"], vec![]),
        (vec!["x<unknown>:0"], vec![]),
        (vec!["ino such '; file {x}"], vec![]),
        (vec![], vec![domain(true, 1)]),
        (vec![], vec![domain(false, 1)]),
        (vec!["i*.py"], vec![domain(true, 1)]),
        (vec!["x*.py"], vec![domain(true, 1), domain(true, 0)]),
        (vec!["i*.py"], vec![domain(false, 0)]),
        (vec!["i*file_2*.c", "I*file_1*.c"], vec![domain(true, 1)]),
        (vec!["idomain:1:*.c"], vec![]),
        (vec!["Idomain:1:*file_1*.c", "i*.py", "xdomain:0:*_3.py"], vec![]),
        (vec!["xdomain:1:*.c", "Xdomain:0:*.py:3", "x*file_4.c"], vec![domain(true, 1), domain(true, 0)]),
    ] {
        let filters = Filters { frames: frames.iter().map(|f| filter(f)).collect(), domains };
        for group_by in [GroupBy::Site, GroupBy::Lineno, GroupBy::Traceback, GroupBy::Size, GroupBy::Domain] {
            for measure in [Measure::Live(Moment::Peak), Measure::Live(Moment::Share(0.5)), Measure::Allocated] {
                let filters = filters.clone();
                let groups = Groups { group_by, measure, filters, limit: None, ..Groups::default() };
                check(&session, &made, &groups).await;
            }
        }
    }
}

#[tokio::test]
async fn limits_cut_the_end() {
    let (_scratch, _, session) = session_of(&Shape::default());
    for group_by in GroupBy::ALL {
        let all = run(&session, &Report::Groups(Groups { group_by, limit: None, ..Groups::default() })).await;
        let some = run(&session, &Report::Groups(Groups { group_by, limit: Some(3), ..Groups::default() })).await;
        assert_eq!(some, all[..all.len().min(3)]);
    }
}

#[tokio::test]
async fn the_peak_table_equals_the_intervals_at_its_time() {
    for sampled in [false, true] {
        let (_scratch, made, session) = session_of(&Shape { sampled, ..Shape::default() });
        let groups = |moment| {
            let measure = Measure::Live(moment);
            Report::Groups(Groups { group_by: GroupBy::Traceback, measure, limit: None, ..Groups::default() })
        };
        let stored = run(&session, &groups(Moment::Peak)).await;
        let rows_at = run(&session, &groups(Moment::At(made.peak_ns))).await;
        assert_eq!(stored.len(), rows_at.len());
        let keys =
            |rows: &[Vec<String>]| rows.iter().map(|r| (r[5].clone(), r[6].clone(), r[10].clone())).collect::<Vec<_>>();
        assert_eq!(keys(&stored), keys(&rows_at));
        let table = rows(&session, "SELECT CAST(round(sum(bytes)) AS BIGINT) FROM peak").await;
        let sum: i64 = stored.iter().map(|r| r[5].parse::<i64>().unwrap()).sum();
        if !sampled {
            assert_eq!(table, [[sum.to_string()]]);
        }
    }
}

#[tokio::test]
async fn errors_of_estimates_come_from_the_weights() {
    let (_scratch, made, session) = session_of(&Shape { sampled: true, ..Shape::default() });
    let groups = Groups { group_by: GroupBy::Domain, measure: Measure::Allocated, ..Groups::default() };
    let got = run(&session, &Report::Groups(groups)).await;
    let variance: f64 = made.allocations.iter().filter(|a| a.domain == 0).map(|a| a.weight * (a.weight - 1.0)).sum();
    let error: f64 = got.iter().find(|r| r[4] == "0").unwrap()[9].parse().unwrap();
    assert!((error - variance.sqrt()).abs() < 1e-6);
}

#[tokio::test]
async fn temporary_blocks_are_reported_where_they_are_known() {
    let (_scratch, _, session) = session_of(&Shape::default());
    let groups =
        |group_by| Report::Groups(Groups { group_by, measure: Measure::Temporary, limit: None, ..Groups::default() });
    let total = rows(&session, "SELECT CAST(sum(temporary_bytes) AS BIGINT) FROM stack_stats WHERE domain = 0").await;
    for group_by in [GroupBy::Site, GroupBy::Traceback, GroupBy::Process] {
        let got = run(&session, &groups(group_by)).await;
        let sum: i64 = got.iter().map(|r| r[5].parse::<i64>().unwrap()).sum();
        assert_eq!(total, [[sum.to_string()]]);
    }
    assert!(session.report_sql(&groups(GroupBy::Thread)).is_err());
}

#[tokio::test]
async fn contradictions_are_refused_in_the_contracts_words() {
    let (_scratch, _, session) = session_of(&Shape { allocations: 10, ..Shape::default() });
    let groups = |group_by, mode| Report::Groups(Groups { group_by, mode, ..Groups::default() });
    let error = session.report_sql(&groups(GroupBy::Traceback, Mode::Cumulative)).unwrap_err();
    assert_eq!(error.to_string(), "cumulative mode cannot by used with key type 'traceback'");
    assert!(session.report_sql(&groups(GroupBy::Thread, Mode::Inclusive)).is_err());
    let mark = Measure::Live(Moment::Mark("nowhere".to_owned()));
    let error = session.report_sql(&Report::Groups(Groups { measure: mark, ..Groups::default() })).unwrap_err();
    assert!(error.to_string().ends_with("has no mark \"nowhere\": it has half"), "{error}");
}

/// Key, (old size, old count), (size, count).
fn expected_diff(old: BTreeMap<Key, (f64, f64)>, new: BTreeMap<Key, (f64, f64)>) -> Vec<(Key, [i64; 2], [i64; 2])> {
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).cloned().collect();
    let of = |map: &BTreeMap<Key, (f64, f64)>, key: &Key| {
        map.get(key).map_or([0, 0], |(bytes, blocks)| [bytes.round() as i64, blocks.round() as i64])
    };
    let mut all: Vec<_> = keys.into_iter().map(|k| (k.clone(), of(&old, &k), of(&new, &k))).collect();
    all.sort_by_key(|(key, old, new)| {
        Reverse(((new[0] - old[0]).abs(), new[0], (new[1] - old[1]).abs(), new[1], key.clone()))
    });
    all
}

fn check_diff(got: &[Vec<String>], want: &[(Key, [i64; 2], [i64; 2])], group_by: GroupBy) {
    assert_eq!(got.len(), want.len());
    for (got, (key, old, new)) in got.iter().zip(want) {
        let numbers: Vec<i64> = got[5..11].iter().map(|n| n.parse().unwrap()).collect();
        assert_eq!(numbers, [old[0], new[0], new[0] - old[0], old[1], new[1], new[1] - old[1]], "{key:?}");
        if group_by == GroupBy::Lineno {
            let [Part::Text(file), Part::Number(line)] = key.as_slice() else { panic!() };
            assert_eq!(got[4], format!("{file}:{line}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn diffs_of_two_moments() {
    let (_scratch, made, session) = session_of(&Shape::default());
    let (old, new) = (Measure::Live(Moment::Mark("half".to_owned())), Measure::Live(Moment::Share(0.6)));
    for group_by in GroupBy::ALL {
        for mode in modes(group_by) {
            let groups = Groups { group_by, mode, ..Groups::default() };
            let sides = [&old, &new].map(|m| Side { recording: 0, measure: m.clone() }).to_vec();
            let diff = Diff { sides, group_by, mode, filters: Filters::default(), limit: None };
            let got = run(&session, &Report::Diff(diff)).await;
            let want = expected_diff(sums(&made, &old, &groups), sums(&made, &new, &groups));
            check_diff(&got, &want, group_by);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn diffs_of_recordings_match_by_content() {
    let scratch = Scratch::new();
    let shapes = [Shape::default(), Shape { allocations: 2000, seed: 9, stacks: 150, ..Shape::default() }];
    let names = ["old", "new run"];
    let made: Vec<_> =
        shapes.iter().zip(names).map(|(shape, name)| generate(&scratch.join(&format!("{name}.tmq")), shape)).collect();
    let refs = names.map(|n| RecordingRef::new(scratch.join(&format!("{n}.tmq"))));
    let session = Session::open(&refs).unwrap();
    for group_by in [GroupBy::Site, GroupBy::Lineno, GroupBy::Filename, GroupBy::Traceback, GroupBy::Kind] {
        let measure = Measure::Live(Moment::End);
        let sides = [0, 1].map(|recording| Side { recording, measure: measure.clone() }).to_vec();
        let mode = Mode::MostRecent;
        let diff = Diff { sides, group_by, mode, filters: Filters::default(), limit: None };
        let got = run(&session, &Report::Diff(diff)).await;
        let groups = Groups { group_by, ..Groups::default() };
        let want = expected_diff(sums(&made[0], &measure, &groups), sums(&made[1], &measure, &groups));
        check_diff(&got, &want, group_by);
    }
    for group_by in GroupBy::ALL {
        // The second recording alone, among several.
        check_second(&session, &made[1], group_by).await;
        // Three sides.
        let measure = |m| Measure::Live(m);
        let sides = vec![
            Side { recording: 0, measure: measure(Moment::Peak) },
            Side { recording: 1, measure: measure(Moment::Start) },
            Side { recording: 1, measure: measure(Moment::End) },
        ];
        let diff = Diff { sides, group_by, mode: Mode::MostRecent, filters: Filters::default(), limit: Some(4) };
        assert!(!run(&session, &Report::Diff(diff)).await.is_empty());
    }
}

async fn check_second(session: &Session, made: &Generated, group_by: GroupBy) {
    let groups = Groups { recording: 1, group_by, limit: None, ..Groups::default() };
    check(session, made, &groups).await;
}

#[tokio::test]
async fn addresses_have_a_history() {
    let (_scratch, made, session) = session_of(&Shape::default());
    let block = made.allocations.iter().find(|a| a.size > 8 && a.domain == 0).unwrap();
    let asked = block.address as u64 + 3;
    for moment in [None, Some(Moment::At(made.mark_ns)), Some(Moment::Start)] {
        let report = Address { recording: 0, address: asked, moment: moment.clone(), pid: None, limit: None };
        let got = run(&session, &Report::Address(report)).await;
        let contains = |a: &&AllocationsRow| {
            a.address as u64 <= asked && (a.address as u64 == asked || (a.address + a.size) as u64 > asked)
        };
        let mut want: Vec<_> = made.allocations.iter().filter(contains).collect();
        want.sort_by_key(|a| a.alloc_ns);
        assert_eq!(got.len(), want.len());
        assert!(got.iter().any(|r| r[5] == block.address.to_string() && r[6] == "3"));
        for (row, a) in got.iter().zip(&want) {
            let ended = made.processes[a.process_id as usize].end_ns;
            let state = match &moment {
                None if a.free_ns.is_some() => "freed",
                None => "live",
                Some(Moment::Start) => "later",
                Some(m) if a.alloc_ns > at(&made, m) => "later",
                Some(m) if a.free_ns.is_some_and(|f| f <= at(&made, m)) => "freed",
                Some(m) if ended.is_some_and(|f| f <= at(&made, m)) => "freed",
                Some(_) => "live",
            };
            assert_eq!(row[4], state);
        }
    }
    let one = Address { recording: 0, address: asked, moment: None, pid: Some(1), limit: Some(1) };
    assert!(run(&session, &Report::Address(one)).await.is_empty());
}

#[tokio::test]
async fn reports_about_nothing_are_empty() {
    let (_scratch, session) = empty_session();
    for group_by in GroupBy::ALL {
        for measure in [Measure::Live(Moment::Peak), Measure::Live(Moment::Share(0.5)), Measure::Allocated] {
            let groups = Groups { group_by, measure, ..Groups::default() };
            assert!(run(&session, &Report::Groups(groups)).await.is_empty());
        }
        let sides = [Moment::Start, Moment::End].map(|m| Side { recording: 0, measure: Measure::Live(m) }).to_vec();
        let diff = Diff { sides, group_by, mode: Mode::MostRecent, filters: Filters::default(), limit: None };
        assert!(run(&session, &Report::Diff(diff)).await.is_empty());
    }
    let address = Address { recording: 0, address: u64::MAX, moment: None, pid: None, limit: None };
    assert!(run(&session, &Report::Address(address)).await.is_empty());
}
