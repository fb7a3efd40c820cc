//! Answers "how long does a question take?" on a generated recording.
//!
//! ```text
//! timing generate DIR [ALLOCATIONS [STACKS [DEPTH]]]     makes a recording
//! timing run DIR [ROUNDS]                                times opening and every canned question, in milliseconds
//! timing sql DIR SQL [ROUNDS]                            times one query
//! timing canned DIR                                      prints the canned questions as JSON lines, for tests/duckdb_compare.py
//! timing once DIR                                        opens, answers `top`, ends: for timing a whole process
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a failure ends it with its place")]

#[path = "../tests/support/canned.rs"]
mod canned;
#[path = "../tests/support/generate.rs"]
mod generate;

use std::path::Path;
use std::time::Instant;

use tmq_query::report::{Groups, Report};
use tmq_query::{RecordingRef, Session};

use crate::canned::canned;
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
                println!("{}", serde_json::json!({"name": name, "sql": sql}));
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

async fn time(session: &Session, sql: &str) -> Result<(f64, usize), Failure> {
    let start = Instant::now();
    let batches = session.sql(sql).await?.collect().await?;
    Ok((start.elapsed().as_secs_f64() * 1e3, batches.iter().map(tmq_query::arrow::array::RecordBatch::num_rows).sum()))
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
