//! CPython's module against the Rust types and the SQL reports: random snapshots, row by row and in order.
//!
//! Every CPython from 3.6 on that can be found takes part: 3.6 has the seed's order of frames, later ones the other.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tmq_query::report::{
    Diff, DomainFilter as ReportDomain, Filters, FrameFilter, GroupBy, Groups, Measure, Mode, Report, Side, Subject,
};
use tmq_query::tracemalloc::{AnyFilter, DomainFilter, Filter, Frame, KeyType, Order, Snapshot, Trace, Traceback};
use tmq_query::{Moment, RecordingRef, Session};

use crate::support::{Scratch, texts};

/// Cases for each CPython.
const CASES: usize = 400;
/// Cases that are also written as recordings and asked in SQL, in the seed's order.
const SQL_CASES: usize = 60;

/// Interpreters to compare with, by version: those of pyenv, or the one on the path.
pub(super) fn pythons() -> Vec<PathBuf> {
    let versions = std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv/versions"));
    let entries = versions.and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|e| !e.file_name().to_string_lossy().starts_with("2."))
        .map(|e| e.path().join("bin/python3"))
        .filter(|p| p.exists())
        .collect();
    if found.is_empty() {
        found.push("python3".into());
    }
    found.sort();
    found
}

pub(super) fn script(python: &Path, args: &[&str]) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential.py");
    let output = Command::new(python).arg(script).args(args).env("PYTHONIOENCODING", "utf-8").output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

fn line(value: &Value) -> i32 {
    i32::try_from(number(value)).unwrap()
}

fn frames(value: &Value) -> Vec<Frame> {
    let frames = value.as_array().unwrap().iter();
    frames.map(|f| Frame::new(f[0].as_str().unwrap(), line(&f[1]))).collect()
}

fn snapshot(case: &Value, name: &str, order: Order) -> Snapshot {
    let traces = case[name].as_array().unwrap().iter().map(|t| Trace {
        domain: line(&t[0]),
        size: number(&t[1]),
        traceback: Traceback::new(frames(&t[2])).with_total(Some(line(&t[3]) as u32)),
    });
    Snapshot::new(traces.collect(), line(&case["limit"]) as u32).with_order(order)
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

fn check_types(case: &Value) -> usize {
    let order = if case["new_order"] == true { Order::OldestFirst } else { Order::MostRecentFirst };
    let (new, old) = (snapshot(case, "new", order), snapshot(case, "old", order));
    let asks = case["asks"].as_array().unwrap();
    for ask in asks {
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
    asks.len()
}

fn list(traceback: &Traceback) -> Value {
    traceback.frames().iter().map(|f| serde_json::json!([*f.filename, f.lineno])).collect()
}

#[test]
fn types_answer_as_cpython() {
    let mut compared = 0;
    for (seed, python) in pythons().iter().enumerate() {
        let Some(output) = script(python, &["cases", &seed.to_string(), &CASES.to_string()]) else { return };
        for case in output.lines() {
            compared += check_types(&serde_json::from_str(case).unwrap());
        }
    }
    assert!(compared > CASES, "{compared}");
}

/// A filter of the module as one of reports; those on file and domain at once have no equal.
fn report_filters(ask: &Value) -> Option<Filters> {
    let mut filters = Filters::default();
    for value in ask["filters"].as_array().unwrap() {
        match filter(value) {
            AnyFilter::Domain(f) => {
                filters.domains.push(ReportDomain { inclusive: f.inclusive, domain: f.domain });
            }
            AnyFilter::Frames(f) if f.domain.is_some() => return None,
            AnyFilter::Frames(f) => filters.frames.push(FrameFilter {
                inclusive: f.inclusive,
                any_frame: f.all_frames,
                subject: Subject::File,
                pattern: f.filename_pattern().to_owned(),
                line: f.lineno,
            }),
        }
    }
    Some(filters)
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
    let frames = frames.as_array().unwrap().iter().map(|f| (f[0].as_str().unwrap(), number(&f[1])));
    match group_by {
        GroupBy::Traceback => {
            let frames = frames.map(|(file, line)| format!("{{filename: {file}, lineno: {line}, function: ??}}"));
            format!("[{}]", frames.collect::<Vec<_>>().join(", "))
        }
        _ => frames.map(|(file, line)| format!("{file}:{line}")).collect(),
    }
}

async fn check_sql(case: &Value) {
    let scratch = Scratch::new();
    for name in ["old", "new"] {
        let snapshot = snapshot(case, name, Order::MostRecentFirst);
        snapshot.write_recording(scratch.join(&format!("{name}.tmq"))).unwrap();
    }
    let session = Session::open(&["old", "new"].map(|n| RecordingRef::new(scratch.join(&format!("{n}.tmq"))))).unwrap();
    for ask in case["asks"].as_array().unwrap() {
        let Some(filters) = report_filters(ask) else { continue };
        let group_by: GroupBy = ask["key"].as_str().unwrap().parse().unwrap();
        let mode = if ask["cumulative"] == true { Mode::Cumulative } else { Mode::MostRecent };
        let groups =
            Groups { recording: 1, group_by, mode, filters: filters.clone(), limit: None, ..Groups::default() };
        let rows = answer(&session, &Report::Groups(groups)).await;
        let got: Vec<_> = rows.iter().map(|r| (shown(r, group_by), r[5].clone(), r[6].clone())).collect();
        let want = ask["statistics"].as_array().unwrap().iter();
        let want: Vec<_> = want.map(|s| (wanted(&s[0], group_by), s[1].to_string(), s[2].to_string())).collect();
        assert_eq!(got, want, "{ask}");
        let sides = [0, 1].map(|recording| Side { recording, measure: Measure::Live(Moment::End) }).to_vec();
        let diff = Diff { sides, group_by, mode, filters, limit: None };
        let rows = answer(&session, &Report::Diff(diff)).await;
        let got: Vec<_> = rows.iter().map(|r| (shown(r, group_by), [6, 7, 9, 10].map(|i| r[i].clone()))).collect();
        let want = ask["diffs"].as_array().unwrap().iter();
        let want: Vec<_> = want.map(|s| (wanted(&s[0], group_by), [1, 2, 3, 4].map(|i| s[i].to_string()))).collect();
        assert_eq!(got, want, "{ask}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_answers_as_cpython() {
    // The first version is the seed's, if pyenv has it; the typed comparison covers the rest.
    let Some(python) = pythons().into_iter().find(|p| p.to_string_lossy().contains("/3.6.")) else { return };
    let Some(output) = script(&python, &["cases", "99", &SQL_CASES.to_string()]) else { return };
    for case in output.lines() {
        check_sql(&serde_json::from_str(case).unwrap()).await;
    }
}
