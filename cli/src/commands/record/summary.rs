//! What was recorded, in five lines on stderr.

use tmq_query::tracemalloc::format_size;
use tmq_store::ingest::Summary;

use crate::commands::info;
use crate::report::{format_count, format_time, thousands};
use crate::ui::Ui;

/// Prints the summary of a sealed recording.
pub(crate) fn print(summary: &Summary, ui: Ui) {
    let size = |bytes: u64| format_size(bytes as f64, false);
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let count = |n: u64, one, many| format_count(number(n), one, many);
    let processes = count(summary.processes, "process", "processes");
    let about = if summary.sampling_interval > 0 { "about " } else { "" };
    ui.note(format_args!(
        "recorded {processes} for {}: {about}{}, {} in all",
        format_time(summary.duration_ns),
        count(summary.allocations, "allocation", "allocations"),
        size(summary.bytes_allocated),
    ));
    ui.note(format_args!(
        "peak {about}{} at {}; {} in {} never freed",
        size(summary.peak_bytes),
        format_time(summary.peak_ns),
        size(summary.live_bytes),
        count(summary.live_blocks, "block", "blocks"),
    ));
    if summary.verified > 0 {
        let stacks = count(summary.verified, "stack", "stacks");
        ui.note(format_args!("verified {stacks}: {}", count(summary.mismatches, "mismatch", "mismatches")));
    }
    if summary.lost_events > 0 {
        losses(summary, ui);
    }
    if summary.bypassed_processes > 0 {
        let processes = count(summary.bypassed_processes, "process uses", "processes use");
        ui.warn(format_args!("{processes} a malloc that comes before tmq's: nothing that goes through it was seen"));
    }
    let path = summary.path.display();
    ui.note(format_args!("wrote {path} ({})", size(summary.size_on_disk)));
    ui.note(format_args!("next: tmq top {path}"));
}

fn losses(summary: &Summary, ui: Ui) {
    let events = thousands(i64::try_from(summary.lost_events).unwrap_or(i64::MAX));
    let reasons = info::losses_of(&summary.path).unwrap_or_default();
    let reasons: Vec<String> = reasons.iter().map(|l| format!("{} {}", thousands(l.count), l.reason)).collect();
    let path = summary.path.display();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    ui.warn(format_args!("{events} events were lost{reasons}; `tmq info {path}` says why"));
}
