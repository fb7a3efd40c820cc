//! CPython's module against the Rust types and the SQL reports: random snapshots that each CPython dumps are loaded and
//! imported, and every answer is compared row by row and in order.
//!
//! Every CPython from 3.6 on that can be found takes part: 3.6 has the seed's order of frames, later ones the other. The
//! layouts of dumps are those of all versions from 3.4 on.

use std::cmp::Reverse;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tmq_query::report::{
    Diff, DomainFilter as ReportDomain, Filters, FrameFilter, GroupBy, Groups, Measure, Mode, Report, Side, Subject,
};
use tmq_query::tracemalloc::{AnyFilter, DomainFilter, Filter, Frame, KeyType, Order, Snapshot, Traceback};
use tmq_query::{Moment, RecordingRef, Session};

use crate::support::{Scratch, texts};

/// Pairs of snapshots, over all CPythons.
const CASES: usize = 2000;

/// Interpreters to compare with, by version: those of pyenv, and those on the path.
pub(super) fn pythons() -> Vec<PathBuf> {
    let versions = std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv/versions"));
    let entries = versions.and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|e| !e.file_name().to_string_lossy().starts_with("2."))
        .map(|e| e.path().join("bin/python3"))
        .chain(["/usr/local/bin/python3", "/usr/bin/python3"].map(PathBuf::from))
        .filter(|p| p.exists())
        .collect();
    found.sort();
    found
}

pub(super) fn script(python: &Path, args: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential.py");
    let output = Command::new(python).arg(script).args(args).env("PYTHONIOENCODING", "utf-8").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn number_of(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

fn line(value: &Value) -> i32 {
    i32::try_from(number_of(value)).unwrap()
}

fn frames(value: &Value) -> Vec<Frame> {
    let frames = value.as_array().unwrap().iter();
    frames.map(|f| Frame::new(f[0].as_str().unwrap(), line(&f[1]))).collect()
}

fn filter(value: &Value) -> AnyFilter {
    let inclusive = value["inclusive"].as_bool().unwrap();
    let domain = value["domain"].as_i64().map(|d| i32::try_from(d).unwrap());
    let Some(pattern) = value.get("pattern") else {
        return DomainFilter { inclusive, domain: domain.unwrap() }.into();
    };
    let mut filter = Filter::new(inclusive, pattern.as_str().unwrap());
    filter.lineno = value["lineno"].as_i64().map(|l| i32::try_from(l).unwrap());
    filter.all_frames = value["all_frames"].as_bool().unwrap();
    filter.domain = domain;
    filter.into()
}

fn order(case: &Value) -> Order {
    if case["new_order"] == true { Order::OldestFirst } else { Order::MostRecentFirst }
}

/// The old and the new snapshot of a case.
fn load(dir: &Path, number: usize, case: &Value) -> [Snapshot; 2] {
    let snapshots = ["old", "new"].map(|name| Snapshot::load(dir.join(format!("{number}-{name}.pickle"))).unwrap());
    for (snapshot, blocks) in snapshots.iter().zip(case["blocks"].as_array().unwrap()) {
        assert_eq!(snapshot.traces.len() as i64, number_of(blocks));
        assert_eq!(i64::from(snapshot.traceback_limit), number_of(&case["limit"]));
    }
    snapshots.map(|snapshot| snapshot.with_order(order(case)))
}

fn check_types(case: &Value, [old, new]: &[Snapshot; 2]) {
    let order = order(case);
    for ask in case["asks"].as_array().unwrap() {
        let filters: Vec<AnyFilter> = ask["filters"].as_array().unwrap().iter().map(filter).collect();
        let (new, old) = (new.filter_traces(&filters), old.filter_traces(&filters));
        let key: KeyType = ask["key"].as_str().unwrap().parse().unwrap();
        let cumulative = ask["cumulative"].as_bool().unwrap();
        let got: Vec<Value> = new
            .statistics(key, cumulative)
            .unwrap()
            .iter()
            .map(|s| serde_json::json!([list(&s.traceback), s.size as i64, s.count, s.text(order)]))
            .collect();
        assert_eq!(&Value::from(got), &ask["statistics"], "{ask}\n{case}");
        let got: Vec<Value> = new
            .compare_to(&old, key, cumulative)
            .unwrap()
            .iter()
            .map(|s| {
                let (size, diff) = (s.size as i64, s.size_diff as i64);
                serde_json::json!([list(&s.traceback), size, diff, s.count, s.count_diff, s.text(order)])
            })
            .collect();
        assert_eq!(&Value::from(got), &ask["diffs"], "{ask}\n{case}");
    }
    let stack = Traceback::new(frames(&case["stack"]));
    let mut none = |_: &str, _: i32| None;
    for format in case["formats"].as_array().unwrap() {
        let limit = format[0].as_i64();
        let got = match order {
            Order::MostRecentFirst => stack.format(limit, &mut none),
            Order::OldestFirst => stack.format_since_37(limit, false, &mut none),
        };
        assert_eq!(Value::from(got), format[1], "{case}");
    }
}

fn list(traceback: &Traceback) -> Value {
    traceback.frames().iter().map(|f| serde_json::json!([*f.filename, f.lineno])).collect()
}

/// Filters of the module as those of reports.
fn report_filters(ask: &Value) -> Filters {
    let mut filters = Filters::default();
    for value in ask["filters"].as_array().unwrap() {
        match filter(value) {
            AnyFilter::Domain(f) => {
                filters.domains.push(ReportDomain { inclusive: f.inclusive, domain: f.domain });
            }
            AnyFilter::Frames(f) => filters.frames.push(FrameFilter {
                inclusive: f.inclusive,
                any_frame: f.all_frames,
                subject: Subject::File,
                pattern: f.filename_pattern().to_owned(),
                line: f.lineno,
                domain: f.domain,
            }),
        }
    }
    filters
}

async fn answer(session: &Session, report: &Report) -> Vec<Vec<String>> {
    let sql = session.report_sql(report).unwrap();
    let rows = session.report(report).await.unwrap_or_else(|e| panic!("{e}\n{sql}"));
    texts(&rows.collect().await.unwrap_or_else(|e| panic!("{e}\n{sql}")))
}

/// (file, line) of the group's frame, or all frames as the report writes them.
fn shown(row: &[String], group_by: GroupBy) -> String {
    match group_by {
        GroupBy::Traceback => row[row.len() - 1].clone(),
        _ => format!("{}:{}", row[0], row[1]),
    }
}

fn wanted(frames: &Value, group_by: GroupBy) -> String {
    let frames = frames.as_array().unwrap().iter().map(|f| (f[0].as_str().unwrap(), number_of(&f[1])));
    match group_by {
        GroupBy::Traceback => {
            let frames = frames.map(|(file, line)| format!("{{filename: {file}, lineno: {line}, function: ??}}"));
            format!("[{}]", frames.collect::<Vec<_>>().join(", "))
        }
        _ => frames.map(|(file, line)| format!("{file}:{line}")).collect(),
    }
}

/// The module's rows in the seed's order. Only tracebacks can tie in another one.
fn in_seeds_order<'a>(ask: &'a Value, name: &str, order: Order) -> Vec<&'a Value> {
    let mut rows: Vec<&Value> = ask[name].as_array().unwrap().iter().collect();
    if order == Order::OldestFirst && ask["key"] == "traceback" {
        let numbers = |row: &Value| match name {
            "statistics" => vec![number_of(&row[1]), number_of(&row[2])],
            _ => vec![number_of(&row[2]).abs(), number_of(&row[1]), number_of(&row[4]).abs(), number_of(&row[3])],
        };
        rows.sort_by_key(|row| Reverse((numbers(row), frames(&row[0]))));
    }
    rows
}

/// What both reports are asked.
fn question(ask: &Value) -> (GroupBy, Mode, Filters) {
    let mode = if ask["cumulative"] == true { Mode::Cumulative } else { Mode::MostRecent };
    (ask["key"].as_str().unwrap().parse().unwrap(), mode, report_filters(ask))
}

async fn check_statistics(session: &Session, ask: &Value, order: Order) {
    let (group_by, mode, filters) = question(ask);
    let groups = Groups { group_by, mode, filters, limit: None, ..Groups::default() };
    let rows = answer(session, &Report::Groups(groups)).await;
    let got: Vec<_> = rows.iter().map(|r| (shown(r, group_by), r[5].clone(), r[6].clone())).collect();
    let want = in_seeds_order(ask, "statistics", order).into_iter();
    let want: Vec<_> = want.map(|s| (wanted(&s[0], group_by), s[1].to_string(), s[2].to_string())).collect();
    assert_eq!(got, want, "{ask}");
}

async fn check_diff(session: &Session, ask: &Value, order: Order) {
    let (group_by, mode, filters) = question(ask);
    let sides = [0, 1].map(|recording| Side { recording, measure: Measure::Live(Moment::End) }).to_vec();
    let diff = Diff { sides, group_by, mode, filters, limit: None };
    let rows = answer(session, &Report::Diff(diff)).await;
    let got: Vec<_> = rows.iter().map(|r| (shown(r, group_by), [6, 7, 9, 10].map(|i| r[i].clone()))).collect();
    let want = in_seeds_order(ask, "diffs", order).into_iter();
    let want: Vec<_> = want.map(|s| (wanted(&s[0], group_by), [1, 2, 3, 4].map(|i| s[i].to_string()))).collect();
    assert_eq!(got, want, "{ask}");
}

/// Imports the snapshots of a case and asks one of its questions in SQL: of every second case the statistics of the new
/// one, of the others the difference.
async fn check_import(number: usize, case: &Value, [old, new]: &[Snapshot; 2], dir: &Path) {
    let paths = ["old", "new"].map(|name| dir.join(format!("{number}-{name}.tmq")));
    new.write_recording(&paths[1]).unwrap();
    let ask = case["asks"].get(number / 2 % 4);
    if number.is_multiple_of(2) {
        let session = Session::open(&[RecordingRef::new(&paths[1])]).unwrap();
        if let Some(ask) = ask {
            check_statistics(&session, ask, order(case)).await;
        }
        return;
    }
    old.write_recording(&paths[0]).unwrap();
    let session = Session::open(&paths.map(RecordingRef::new)).unwrap();
    if let Some(ask) = ask {
        check_diff(&session, ask, order(case)).await;
    }
}

/// Pairs of snapshots and questions that were compared with one CPython.
fn check_python(python: &Path, seed: usize, cases: usize) -> (usize, usize) {
    let scratch = Scratch::new();
    let dir = scratch.join("");
    let output = script(python, &["cases", &seed.to_string(), &cases.to_string(), dir.to_str().unwrap()]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut compared, mut asks) = (0, 0);
    for (number, line) in output.lines().enumerate() {
        let case: Value = serde_json::from_str(line).unwrap();
        let snapshots = load(&dir, number, &case);
        check_types(&case, &snapshots);
        runtime.block_on(check_import(number, &case, &snapshots, &dir));
        compared += 1;
        asks += case["asks"].as_array().unwrap().len();
    }
    (compared, asks)
}

#[test]
fn every_cpython_answers_the_same() {
    let pythons = pythons();
    assert!(!pythons.is_empty(), "no python3 to compare with");
    let each = CASES.div_ceil(pythons.len());
    let start = std::time::Instant::now();
    let compared: Vec<(usize, usize)> = std::thread::scope(|scope| {
        let threads: Vec<_> = pythons
            .iter()
            .enumerate()
            .map(|(seed, python)| scope.spawn(move || check_python(python, seed, each)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let cases: usize = compared.iter().map(|(cases, _)| cases).sum();
    let asks: usize = compared.iter().map(|(_, asks)| asks).sum();
    // Past the capture of the test harness: the figure is wanted from runs that pass.
    let _ = writeln!(
        std::io::stderr(),
        "compared {cases} pairs of snapshots and {asks} questions with {} CPythons in {:.1} s",
        pythons.len(),
        start.elapsed().as_secs_f64()
    );
    assert!(cases >= CASES, "{cases}");
}
