//! `tmq info`: what a recording contains, in numbers.

use std::fmt::Write as _;
use std::io::Write;

use clap::Args;
use tmq_query::tracemalloc::format_size;
use tmq_query::{Info as Facts, ProcessInfo, RecordingRef};
use tmq_store::Recording;

use crate::args::OutputArgs;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::input::RecordingArg;
use crate::output::{Format, terminal_width};
use crate::report::{format_count, format_time, thousands};
use crate::ui::{Styles, Ui};

/// Longest list of processes.
const PROCESSES_SHOWN: usize = 20;

/// Show what a recording contains: command, processes, totals, peak, losses
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq info                             the newest recording
  tmq info app.tmq --format json       one JSON object, for programs
  tmq info --format json | jq .peak_bytes")]
pub(crate) struct Info {
    #[command(flatten)]
    recording: RecordingArg,
    #[command(flatten)]
    output: OutputArgs,
}

/// Why something is not in the recording.
pub(crate) struct Loss {
    pub(crate) reason: String,
    pub(crate) count: i64,
    detail: String,
}

impl Info {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        let reference = self.recording.resolve(ui)?;
        let engine = Engine::open(&reference)?;
        let facts = engine.info()?;
        let text = match self.output.format() {
            Some(Format::Json) => serde_json::to_string_pretty(&facts).map_err(Error::new)? + "\n",
            Some(Format::Ndjson) => serde_json::to_string(&facts).map_err(Error::new)? + "\n",
            Some(_) => {
                return Err(Error::usage("info is written as text or JSON")
                    .hint("tables of the same facts: tmq sql 'select * from processes'"));
            }
            None => {
                let recording = Recording::open(&reference.path)?;
                let losses = losses(&engine)?;
                let styles = if self.output.output.is_some() { Styles::PLAIN } else { ui.out() };
                render(&facts, &recording, &losses, styles)
            }
        };
        let mut out = self.output.open()?;
        out.write_all(text.as_bytes())?;
        out.finish()
    }
}

/// What the recording at `path` lost, by reason.
pub(crate) fn losses_of(path: &std::path::Path) -> Result<Vec<Loss>> {
    losses(&Engine::open(&RecordingRef::new(path))?)
}

fn losses(engine: &Engine) -> Result<Vec<Loss>> {
    let sql =
        "SELECT reason, sum(count) AS count, min(detail) AS detail FROM losses GROUP BY reason ORDER BY 2 DESC, 1";
    let batches = engine.block_on(async { engine.sql(sql).await?.collect().await })?;
    let mut losses = Vec::new();
    for batch in &batches {
        let reader = crate::report::Reader::new(batch);
        let (reason, count, detail) = (reader.texts("reason")?, reader.integers("count")?, reader.texts("detail")?);
        losses.extend((0..batch.num_rows()).map(|row| Loss {
            reason: reason.get(row).unwrap_or_default(),
            count: count.get(row).unwrap_or(0),
            detail: detail.get(row).unwrap_or_default(),
        }));
    }
    Ok(losses)
}

fn render(facts: &Facts, recording: &Recording, losses: &[Loss], styles: Styles) -> String {
    let mut text = format!("{}\n", styles.bold(&facts.path));
    let size = |bytes: i64| format_size(bytes as f64, false);
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "  {}{value}", styles.cyan(format_args!("{name:<13}")));
    };
    fact("command", shell_words(&facts.command));
    let host = facts.metadata.get("hostname").map_or(String::new(), |host| format!(" on {host}"));
    let when = utc(recording.manifest().created_unix_ns);
    fact("recorded", format!("{when}{host}, for {}", format_time(facts.duration_ns)));
    let threads = format_count(facts.threads, "thread", "threads");
    fact("processes", format!("{} with {threads}", thousands(facts.processes)));
    let mode = match facts.sampling_interval {
        0 => "every allocation".to_owned(),
        interval => format!("a sample every {} on average: counts and sizes are estimates", size(interval)),
    };
    fact("sampling", mode);
    fact("allocations", format!("{}, {} in all", thousands(facts.allocations), size(facts.bytes_allocated)));
    fact("freed", thousands(facts.frees));
    let peak = format_count(facts.peak_blocks, "block", "blocks");
    fact("peak", format!("{} in {peak}, at {}", size(facts.peak_bytes), format_time(facts.peak_ns)));
    let live = format_count(facts.live_blocks, "block", "blocks");
    fact("never freed", format!("{} in {live}", size(facts.live_bytes)));
    fact("stacks", format!("{} distinct", thousands(facts.stacks)));
    let per = match facts.allocations {
        0 => String::new(),
        n => format!(", {:.1} bytes per allocation", facts.size_on_disk as f64 / n as f64),
    };
    fact("on disk", format!("{}{per}", size(facts.size_on_disk)));
    let manifest = recording.manifest();
    fact("format", format!("{}, by tmq {}", manifest.version, manifest.tmq_version));
    if losses.is_empty() {
        fact("lost", "nothing".to_owned());
    }
    for loss in losses {
        let line = format!("{} {}: {}", thousands(loss.count), loss.reason, loss.detail);
        fact("lost", styles.yellow(line.trim_end_matches([':', ' '])));
    }
    processes(&mut text, &facts.process_list, styles);
    text
}

fn processes(text: &mut String, list: &[ProcessInfo], styles: Styles) {
    if list.len() < 2 {
        return;
    }
    let size = |bytes: i64| format_size(bytes as f64, false);
    // The ones that allocated most, in order of appearance.
    let mut most: Vec<i64> = list.iter().map(|p| p.allocations).collect();
    most.sort_unstable_by(|a, b| b.cmp(a));
    let least = most.get(PROCESSES_SHOWN - 1).copied().unwrap_or(0);
    let rows: Vec<[String; 6]> = list
        .iter()
        .filter(|p| p.allocations >= least)
        .take(PROCESSES_SHOWN)
        .map(|p| {
            let exit = match (p.exit_code, p.exit_signal) {
                (_, Some(signal)) => format!("signal {signal}"),
                (Some(code), None) => code.to_string(),
                (None, None) => String::new(),
            };
            let command = if p.argv.is_empty() { p.exe.clone() } else { shell_words(&p.argv) };
            [p.pid.to_string(), thousands(p.allocations), size(p.peak_bytes), size(p.live_bytes), exit, command]
        })
        .collect();
    let head = ["pid", "allocations", "peak", "never freed", "exit", "command"].map(str::to_owned);
    let widths: [usize; 5] = std::array::from_fn(|i| rows.iter().chain([&head]).map(|r| r[i].len()).max().unwrap_or(0));
    text.push('\n');
    let width = terminal_width().unwrap_or(usize::MAX);
    for (i, row) in std::iter::once(&head).chain(&rows).enumerate() {
        let mut line = String::from("  ");
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:>width$}  ");
        }
        line += &row[5];
        if line.chars().count() > width {
            line = line.chars().take(width - 1).chain(['…']).collect();
        }
        let _ = writeln!(text, "{}", if i == 0 { styles.bold(line) } else { line });
    }
    if list.len() > rows.len() {
        let _ = writeln!(text, "  and {} more: select * from processes", list.len() - rows.len());
    }
}

/// A command line that a shell would read back.
pub(crate) fn shell_words(words: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%^".contains(c);
    let quote = |word: &String| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// A time since 1970 as `2026-11-22 18:04:11 UTC`.
fn utc(unix_ns: i64) -> String {
    match arrow::temporal_conversions::timestamp_ns_to_datetime(unix_ns) {
        Some(time) => format!("{} UTC", time.to_string().split('.').next().unwrap_or_default()),
        None => "at an unknown time".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_times() {
        let words = ["./app", "a b", "it's", ""].map(str::to_owned);
        assert_eq!(shell_words(&words), r"./app 'a b' 'it'\''s' ''");
        assert_eq!(utc(1_700_000_000_123_456_789), "2023-11-14 22:13:20 UTC");
    }
}
