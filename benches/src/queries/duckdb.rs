//! The same questions in tmq and in DuckDB, on the same files: the same rows, and how long one more answer takes.
//!
//! Both engines run as processes that answer a question once or [`MORE`] times more; the difference has neither the start
//! of the process nor the opening of the files in it, and nothing has to be trusted to measure itself.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Bench;
use super::commands::{files, once};
use crate::error::{Result, in_file};
use crate::programs::{find, not_understood, run};

const QUESTIONS: &str = include_str!("questions.sql");
const PROGRAM: &str = include_str!("../../programs/questions.py");
/// Answers by whose time the longer run exceeds the shorter one.
const MORE: u32 = 10;
/// Shortest time of an answer that is told from noise.
const SHORTEST: Duration = Duration::from_micros(100);

/// What to install, if DuckDB is missing.
pub fn missing() -> Option<&'static str> {
    let duckdb = find("python3").is_some_and(|python| run(Command::new(python).args(["-c", "import duckdb"])).is_ok());
    if duckdb { None } else { Some("duckdb (pip install duckdb)") }
}

/// Asks everything of both and prints the table.
///
/// # Errors
/// An engine fails, or their rows differ.
pub fn compare(bench: &Bench, recording: &Path) -> Result<()> {
    let program = bench.directory.join("questions.py");
    fs::write(&program, PROGRAM).map_err(in_file(&program))?;
    println!("\nmilliseconds of one more answer, median of {}:", bench.runs);
    println!("{:<34}{:>10}{:>10}{:>10}", "", "tmq", "DuckDB", "ratio");
    let mut logarithms = Vec::new();
    for (name, question) in questions() {
        let tmq = |times: u32| -> Vec<OsString> {
            let statements = format!("{question};\n").repeat(times as usize);
            let words =
                [bench.tmq.as_os_str(), "sql".as_ref(), "--quiet".as_ref(), "--format".as_ref(), "csv".as_ref()];
            let of = ["-r".as_ref(), recording.as_os_str(), statements.as_ref()];
            words.into_iter().chain(of).map(OsString::from).collect()
        };
        let duckdb = |times: u32| -> Vec<OsString> {
            let python = find("python3").unwrap_or_default();
            let times = times.to_string();
            [python.as_os_str(), program.as_os_str(), recording.as_os_str(), question.as_ref(), times.as_ref()]
                .map(OsString::from)
                .into()
        };
        check_rows(bench, name, &tmq(1), &duckdb(1))?;
        let mut times: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..bench.runs {
            times[0].push(one_more(bench, &tmq)?);
            times[1].push(one_more(bench, &duckdb)?);
        }
        let [ours, theirs] = times.map(median);
        if ours < SHORTEST || theirs < SHORTEST {
            println!("{name:<34}{:>30}", "lost in noise");
            continue;
        }
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        println!("{name:<34}{:>10.2}{:>10.2}{ratio:>10.2}", ours.as_secs_f64() * 1e3, theirs.as_secs_f64() * 1e3);
        logarithms.push(ratio.ln());
    }
    let mean = (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp();
    println!("{:<54}{mean:>10.2}", format!("geometric mean of {}", logarithms.len()));
    Ok(())
}

/// Names and texts.
fn questions() -> impl Iterator<Item = (&'static str, &'static str)> {
    // The first part is the comment of the file.
    QUESTIONS.split("\n\n-- ").skip(1).filter_map(|part| {
        let (name, text) = part.split_once('\n')?;
        Some((name.trim(), text.trim().trim_end_matches(';')))
    })
}

fn one_more(bench: &Bench, command: &dyn Fn(u32) -> Vec<OsString>) -> Result<Duration> {
    let (first, more) = (once(bench, &command(1))?, once(bench, &command(1 + MORE))?);
    Ok(more.wall.saturating_sub(first.wall) / MORE)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Both give the same rows; names of columns may differ.
fn check_rows(bench: &Bench, name: &str, tmq: &[OsString], duckdb: &[OsString]) -> Result<()> {
    let output = files(&bench.directory).output;
    let rows = |command: &[OsString]| {
        once(bench, command)?;
        let text = fs::read_to_string(&output).map_err(in_file(&output))?;
        Ok(text.lines().skip(1).collect::<Vec<_>>().join("\n"))
    };
    let (ours, theirs) = (rows(tmq)?, rows(duckdb)?);
    match ours == theirs && !ours.is_empty() {
        true => Ok(()),
        false => Err(not_understood(&format!("\"{name}\""), &format!("tmq:\n{ours}\nDuckDB:\n{theirs}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_a_name_and_a_text() {
        let all: Vec<_> = questions().collect();
        assert_eq!(all.len(), QUESTIONS.lines().filter(|line| line.ends_with(';')).count());
        assert!(all.iter().all(|(name, text)| !name.is_empty() && !text.contains(';') && !text.contains("--")));
    }
}
