//! The committed table of instruction counts: rendered for people, read back, compared with a tolerance.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::stages::{BELOW, Stages};
use crate::error::{Result, in_file};

/// The rows that are compared. Stages are shown only: how inlined instructions are attributed to them varies more with
/// the compiler than their sum does.
const SUMS: [&str; 3] = ["malloc", "free", "pair"];
const HEADER: &str = "\
# Instructions that tmq adds to one malloc/free pair, by stage and case, over an allocator that does nothing.
# same-N: the stack of every malloc is that of the one before, N frames. M-of-N: the M most recent frames of N were not
# seen lately. M-seen: they were, 16 frames in all.
# sampled-16: a sample every 512 KiB, due at one pair in 8,000. Made by benches/run hot-path; UPDATE_EXPECT=1 accepts a change.
";
/// Width of the first column and of the others.
const FIRST: usize = 42;
const OTHER: usize = 11;
/// Counts below this are the rare work of chunk changes and not worth a row.
const SHOWN: f64 = 0.5;

/// Counts by case and row, with sums.
#[derive(Debug)]
pub struct Table {
    cases: Vec<(String, BTreeMap<String, f64>)>,
}

impl Table {
    /// Adds the sums to what was counted.
    pub fn new(counted: Vec<(&'static str, Stages)>) -> Self {
        let with_sums = |(name, mut stages): (&str, Stages)| {
            let side = |prefix: &str| stages.iter().filter(|(row, _)| row.starts_with(prefix)).map(|(_, n)| n).sum();
            let (malloc, free): (f64, f64) = (side("malloc: "), side("free: "));
            stages.extend(SUMS.map(str::to_owned).into_iter().zip([malloc, free, malloc + free]));
            (name.to_owned(), stages)
        };
        Self { cases: counted.into_iter().map(with_sums).collect() }
    }

    /// As it is committed.
    pub fn render(&self) -> String {
        let mut text = format!("{HEADER}{:FIRST$}", "");
        for (name, _) in &self.cases {
            let _ = write!(text, "{name:>OTHER$}");
        }
        text.push('\n');
        let mut rows: Vec<&String> = self.cases.iter().flat_map(|(_, rows)| rows.keys()).collect();
        rows.sort_by_key(|row| (place(row), *row));
        rows.dedup();
        for row in rows {
            let of_cases = self.cases.iter().map(|(_, rows)| rows.get(row).copied().unwrap_or(0.0));
            if of_cases.clone().any(|n| n >= SHOWN) {
                let numbers: String = of_cases.map(|n| format!("{n:>OTHER$.1}")).collect();
                let _ = writeln!(text, "{row:FIRST$}{numbers}");
            }
        }
        text
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let names = lines.next().unwrap_or_default().split_whitespace();
        let mut cases: Vec<(String, BTreeMap<String, f64>)> =
            names.map(|name| (name.to_owned(), BTreeMap::new())).collect();
        for line in lines {
            let Some((row, numbers)) = line.split_at_checked(FIRST) else { continue };
            for ((_, rows), number) in cases.iter_mut().zip(numbers.split_whitespace()) {
                rows.extend(number.parse().ok().map(|n| (row.trim().to_owned(), n)));
            }
        }
        Self { cases }
    }

    fn get(&self, case: &str, row: &str) -> Option<f64> {
        self.cases.iter().find(|(name, _)| name == case)?.1.get(row).copied()
    }
}

/// Stages of malloc, of free, the sums, and what is not ours.
fn place(row: &str) -> usize {
    match row {
        BELOW => 6,
        _ if row.starts_with("malloc: ") => 0,
        _ if row.starts_with("free: ") => 1,
        _ => 2 + SUMS.iter().position(|sum| *sum == row).unwrap_or(SUMS.len()),
    }
}

/// What a comparison says.
#[derive(Debug)]
pub struct Verdict {
    /// No sum exceeds the golden one by more than the tolerance.
    pub is_good: bool,
    /// A line for every sum that differs by more, in either direction.
    pub notes: Vec<String>,
}

/// Compares the sums of all cases; `tolerance` in percent.
pub fn compare(now: &Table, golden: &Table, tolerance: f64) -> Verdict {
    let mut verdict = Verdict { is_good: true, notes: Vec::new() };
    for (case, rows) in &now.cases {
        for sum in SUMS {
            let (n, was) = (rows.get(sum).copied().unwrap_or(0.0), golden.get(case, sum));
            let Some(was) = was else {
                verdict.is_good = false;
                verdict.notes.push(format!("{case}: not in the golden file (UPDATE_EXPECT=1 adds it)"));
                break;
            };
            let limit = (was * tolerance / 100.0).max(1.0);
            if n > was + limit {
                verdict.is_good = false;
                verdict.notes.push(format!("worse: {sum} of {case} takes {n:.1} instructions, was {was:.1}"));
            } else if n < was - limit {
                verdict.notes.push(format!(
                    "better: {sum} of {case} takes {n:.1} instructions, was {was:.1} (UPDATE_EXPECT=1 holds it there)"
                ));
            }
        }
    }
    verdict
}

/// The committed table.
///
/// # Errors
/// It cannot be read.
pub fn read() -> Result<Table> {
    let path = path();
    std::fs::read_to_string(&path).map(|text| Table::parse(&text)).map_err(in_file(path))
}

/// Replaces the committed table.
///
/// # Errors
/// It cannot be written.
pub fn write(table: &Table) -> Result<()> {
    std::fs::write(path(), table.render()).map_err(in_file(path()))
}

fn path() -> PathBuf {
    let benches = std::env::var_os("TMQ_BENCHES").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&benches).join("golden/hot-path.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(malloc: f64) -> Table {
        let row = |name: &str, n| (name.to_owned(), n);
        Table::new(vec![("same-6", [row("malloc: a, b", malloc), row("free: c", 50.0), row(BELOW, 20.0)].into())])
    }

    #[test]
    fn reads_what_it_renders() {
        let text = table(100.0).render();
        assert_eq!(Table::parse(&text).render(), text);
        assert_eq!(Table::parse(&text).get("same-6", "pair"), Some(150.0));
    }

    #[test]
    fn only_longer_paths_are_worse() {
        let golden = table(100.0);
        assert!(compare(&table(102.0), &golden, 3.0).notes.is_empty());
        let worse = compare(&table(110.0), &golden, 3.0);
        assert!(!worse.is_good && worse.notes.len() == 2, "{worse:?}");
        let better = compare(&table(80.0), &golden, 3.0);
        assert!(better.is_good && better.notes.len() == 2, "{better:?}");
        assert!(!compare(&golden, &Table { cases: Vec::new() }, 3.0).is_good);
    }
}
