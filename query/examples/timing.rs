//! Answers "how long does a question take?" on a generated recording.
//!
//! ```text
//! timing generate DIR [ALLOCATIONS [STACKS [DEPTH]]]     makes a recording
//! timing run DIR [ROUNDS]                                times opening and every canned question, in milliseconds
//! timing sql DIR SQL [ROUNDS]                            times one query
//! timing canned DIR                                      prints name and SQL of the canned questions, for other engines
//! timing once DIR                                        opens, answers `top`, ends: for timing a whole process
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a failure ends it with its place")]

#[path = "../tests/support/generate.rs"]
mod generate;

use std::path::Path;
use std::time::Instant;

use tmq_query::report::{Filters, FrameFilter, GroupBy, Groups, Measure, Mode, Report};
use tmq_query::{Moment, RecordingRef, Session};

use crate::generate::{Shape, generate};

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let start = Instant::now();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["generate", dir, ..] => {
            let shape = Shape {
                allocations: number(2, 4_000_000),
                stacks: number(3, 20_000),
                depth: number(4, 60),
                frames: 6_000,
                threads: 8,
                processes: 1,
                live: 160_000,
                part_rows: 1 << 20,
                ..Shape::default()
            };
            generate(Path::new(dir), &shape);
        }
        ["run", dir, ..] => run(dir, number(2, 3)).await?,
        ["sql", dir, sql, ..] => {
            let session = Session::open(&[RecordingRef::new(*dir)])?;
            for _ in 0..number(3, 3) {
                let (ms, rows) = time(&session, sql).await?;
                println!("{ms:.1} ms, {rows} rows");
            }
        }
        ["canned", dir] => {
            let session = Session::open(&[RecordingRef::new(*dir)])?;
            for (name, sql) in canned(&session)? {
                println!("{name}\t{}", sql.replace('\n', " \\n "));
            }
        }
        ["once", dir] => {
            let session = Session::open(&[RecordingRef::new(*dir)])?;
            let opened = start.elapsed();
            let rows = session.report(&Report::Groups(Groups::default())).await?.collect().await?;
            let all = start.elapsed();
            println!("open {opened:?}, rows after {all:?}, {} batches", rows.len());
        }
        _ => return Err("see the head of this file for the arguments".into()),
    }
    Ok(())
}

/// Every canned question with its SQL.
fn canned(session: &Session) -> Result<Vec<(String, String)>, Failure> {
    let at = || Measure::Live(Moment::Share(0.7));
    let filter = |text| FrameFilter::parse(true, true, text);
    let groups = |group_by, mode, measure| Groups { group_by, mode, measure, ..Groups::default() };
    let peak = || Measure::Live(Moment::Peak);
    let mut all = Vec::new();
    for (name, groups) in [
        ("top by site", Groups::default()),
        ("top by line", groups(GroupBy::Lineno, Mode::MostRecent, peak())),
        ("top by file", groups(GroupBy::Filename, Mode::MostRecent, peak())),
        ("top by traceback", groups(GroupBy::Traceback, Mode::MostRecent, peak())),
        ("top by module", groups(GroupBy::Module, Mode::MostRecent, peak())),
        ("cumulative by line", groups(GroupBy::Lineno, Mode::Cumulative, peak())),
        ("cumulative by line at 70%", groups(GroupBy::Lineno, Mode::Cumulative, at())),
        ("inclusive by site", groups(GroupBy::Site, Mode::Inclusive, peak())),
        ("at 70% by site", groups(GroupBy::Site, Mode::MostRecent, at())),
        ("at 70% by traceback", groups(GroupBy::Traceback, Mode::MostRecent, at())),
        ("allocated by site", groups(GroupBy::Site, Mode::MostRecent, Measure::Allocated)),
        ("allocated by thread", groups(GroupBy::Thread, Mode::MostRecent, Measure::Allocated)),
        ("allocated by size", groups(GroupBy::Size, Mode::MostRecent, Measure::Allocated)),
        ("allocated by kind", groups(GroupBy::Kind, Mode::MostRecent, Measure::Allocated)),
        ("leaks by line", groups(GroupBy::Lineno, Mode::MostRecent, Measure::Live(Moment::End))),
        ("temporary by site", groups(GroupBy::Site, Mode::MostRecent, Measure::Temporary)),
        (
            "any frame in file_1*",
            Groups { filters: Filters { frames: vec![filter("*file_1*.c")?], domains: vec![] }, ..Groups::default() },
        ),
    ] {
        all.push((name.to_owned(), session.report_sql(&Report::Groups(groups))?));
    }
    for view in ["by_thread", "by_size", "lifetimes", "by_kind", "timeline_readable", "stack_totals"] {
        all.push((format!("view {view}"), format!("SELECT * FROM {view}")));
    }
    Ok(all)
}

async fn time(session: &Session, sql: &str) -> Result<(f64, usize), Failure> {
    let start = Instant::now();
    let batches = session.sql(sql).await?.collect().await?;
    Ok((start.elapsed().as_secs_f64() * 1e3, batches.iter().map(|b| b.num_rows()).sum()))
}

async fn run(dir: &str, rounds: usize) -> Result<(), Failure> {
    let start = Instant::now();
    let session = Session::open(&[RecordingRef::new(dir)])?;
    println!("{:>8.1} ms  open", start.elapsed().as_secs_f64() * 1e3);
    for (name, sql) in canned(&session)? {
        let mut best = f64::MAX;
        for _ in 0..rounds {
            best = best.min(time(&session, &sql).await?.0);
        }
        let start = Instant::now();
        session.check(&sql).await?;
        println!("{best:>8.1} ms  {name} (of which planning {:.1})", start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}
