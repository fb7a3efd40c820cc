//! From runs to figures: medians of differences between runs of the same round, as tables and as JSON.
//!
//! Rounds are interleaved, so a slow minute of the machine hits all variants of a round alike; the difference to the
//! reference of the same round is therefore steadier than the difference of two medians.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::scale::Scale;
use super::variants::{Expected, Run, Variant};
use super::workloads::Workload;
use crate::measure::Usage;

const KIB: f64 = 1024.0;
/// With fewer allocations there is nothing to divide by.
const FEW: f64 = 1000.0;

/// Columns of a workload's table, with their widths: processor time of all processes, what of it is added, what was used
/// outside the program, what is added inside it per pair; wall time; peak memory of the program and of the rest.
const HEADS: [(&str, usize); 10] = [
    ("CPU s", 9),
    ("min-max", 15),
    ("added", 9),
    ("%", 9),
    ("outside", 9),
    ("ns/pair", 9),
    ("wall s", 9),
    ("added", 9),
    ("MiB app", 9),
    ("MiB tool", 9),
];

/// All runs of a workload.
#[derive(Debug)]
pub struct Results {
    name: &'static str,
    about: String,
    allocations: f64,
    runs: BTreeMap<Variant, Vec<Run>>,
}

/// Median and extremes.
#[derive(Clone, Copy, Debug)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let n = values.len();
        let median = if n == 0 { f64::NAN } else { f64::midpoint(values[n / 2], values[(n - 1) / 2]) };
        Self {
            median,
            min: values.first().copied().unwrap_or(f64::NAN),
            max: values.last().copied().unwrap_or(f64::NAN),
        }
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl Results {
    /// Nothing yet.
    pub fn new(workload: &Workload, scale: Scale, expected: &Expected) -> Self {
        let about = format!("{}{}", workload.about, scale.note());
        Self { name: workload.name, about, allocations: expected.allocations, runs: BTreeMap::new() }
    }

    /// Adds the next round's run of a variant.
    pub fn add(&mut self, variant: Variant, run: Run) {
        self.runs.entry(variant).or_default().push(run);
    }

    fn spread(&self, variant: Variant, of: impl Fn(&Run) -> f64) -> Spread {
        Spread::of(self.runs.get(&variant).into_iter().flatten().map(of).collect())
    }

    /// What `variant` adds to its reference, round by round.
    fn added(&self, variant: Variant, of: impl Fn(&Usage) -> f64) -> Spread {
        let runs = |variant| self.runs.get(&variant).map_or(&[][..], Vec::as_slice);
        let pairs = runs(variant).iter().zip(runs(variant.reference()));
        Spread::of(pairs.map(|(run, reference)| of(&run.usage) - of(&reference.usage)).collect())
    }

    fn added_cpu(&self, variant: Variant) -> f64 {
        self.added(variant, cpu).median
    }

    /// Added processor time in percent of the reference's.
    fn added_percent(&self, variant: Variant) -> f64 {
        100.0 * self.added_cpu(variant) / self.spread(variant.reference(), |run| cpu(&run.usage)).median
    }

    /// Nanoseconds that the program itself takes longer per allocation and its free.
    fn nanoseconds_per_pair(&self, variant: Variant) -> f64 {
        self.per_allocation(self.added(variant, |usage| usage.target.cpu.as_secs_f64()).median * 1e9)
    }

    fn bytes_per_allocation(&self, variant: Variant) -> f64 {
        self.per_allocation(self.spread(variant, |run| run.bytes_written as f64).median)
    }

    fn per_allocation(&self, sum: f64) -> f64 {
        if self.allocations < FEW { f64::NAN } else { sum / self.allocations }
    }

    /// Every variant on a line.
    pub fn table(&self) -> String {
        let mut text = format!("\n{}: {}; {:.0} allocations\n  {:<19}", self.name, self.about, self.allocations, "");
        for (head, width) in HEADS {
            let _ = write!(text, "{head:>width$}");
        }
        text.push('\n');
        for &variant in self.runs.keys() {
            let total = self.spread(variant, |run| cpu(&run.usage));
            let adds = |number: f64| if variant == Variant::Bare { f64::NAN } else { number };
            let cells = [
                shown(total.median, 3),
                format!("{:.3}-{:.3}", total.min, total.max),
                shown(adds(self.added_cpu(variant)), 3),
                shown(adds(self.added_percent(variant)), 1),
                shown(adds(self.spread(variant, |run| tool_cpu(&run.usage)).median), 3),
                shown(adds(self.nanoseconds_per_pair(variant)), 1),
                shown(self.spread(variant, |run| seconds(&run.usage)).median, 3),
                shown(adds(self.added(variant, seconds).median), 3),
                shown(self.spread(variant, app_kib).median / KIB, 1),
                shown(adds(self.spread(variant, tool_kib).median / KIB), 1),
            ];
            let _ = write!(text, "  {:<19}", variant.name());
            cells.iter().zip(HEADS).for_each(|(cell, (_, width))| text += &format!("{cell:>width$}"));
            text.push('\n');
        }
        text
    }

    /// The line of this workload in the summary.
    pub fn summary(&self) -> String {
        let cells = [
            shown(self.added_cpu(Variant::TmqExact), 3),
            shown(self.added_cpu(Variant::Heaptrack), 3),
            shown(self.ratio(), 3),
            shown(self.nanoseconds_per_pair(Variant::TmqExact), 1),
            shown(self.added_percent(Variant::TmqSampled), 2),
            shown(self.added_percent(Variant::JemallocProfiling), 2),
            shown(self.bytes_per_allocation(Variant::TmqExact), 2),
            shown(self.bytes_per_allocation(Variant::Heaptrack), 2),
        ];
        summary_line(self.name, &cells)
    }

    /// Added processor time of tmq over that of heaptrack.
    fn ratio(&self) -> f64 {
        self.added_cpu(Variant::TmqExact) / self.added_cpu(Variant::Heaptrack)
    }

    /// Everything.
    pub fn json(&self) -> Value {
        let of_variant = |&variant: &Variant| {
            let helpers: Vec<Value> = self.runs[&variant].iter().map(|run| json!(run.usage.helpers)).collect();
            let value = json!({
                "runs": self.runs[&variant].len(),
                "reference": variant.reference().name(),
                "cpu_s": self.spread(variant, |run| cpu(&run.usage)).json(),
                "wall_s": self.spread(variant, |run| run.usage.wall.as_secs_f64()).json(),
                "target_cpu_s": self.spread(variant, |run| run.usage.target.cpu.as_secs_f64()).json(),
                "target_wall_s": self.spread(variant, |run| run.usage.target.wall.as_secs_f64()).json(),
                "target_peak_kib": self.spread(variant, app_kib).json(),
                "helpers_peak_kib": helpers,
                "outside_cpu_s": self.spread(variant, |run| tool_cpu(&run.usage)).json(),
                "added_cpu_s": self.added(variant, cpu).json(),
                "added_wall_s": self.added(variant, seconds).json(),
                "added_percent": self.added_percent(variant),
                "target_ns_per_pair": self.nanoseconds_per_pair(variant),
                "bytes_per_allocation": self.bytes_per_allocation(variant),
            });
            (variant.name().to_owned(), value)
        };
        json!({
            "workload": self.name,
            "about": self.about,
            "allocations": self.allocations,
            "added_cpu_tmq_over_heaptrack": self.ratio(),
            "variants": self.runs.keys().map(of_variant).collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// The head of the summary, of which every workload is a line.
pub fn summary_head() -> String {
    let first = ["added CPU s", "", "tmq /", "exact", "tmq 512K", "jemalloc", "bytes/alloc", ""];
    let second = ["tmq exact", "heaptrack", "heaptrack", "ns/pair", "added %", "added %", "tmq", "heaptrack"];
    let line = |words: [&str; 8]| summary_line("", &words.map(str::to_owned));
    format!("\n{}{}", line(first), line(second))
}

fn summary_line(name: &str, cells: &[String; 8]) -> String {
    let cells: String = cells.iter().map(|cell| format!("{cell:>12}")).collect();
    format!("{name:<10}{cells}\n")
}

/// A number with so many digits; nothing where there is none.
fn shown(number: f64, digits: usize) -> String {
    if number.is_finite() { format!("{number:.digits$}") } else { "-".to_owned() }
}

/// Processor time outside the program.
fn tool_cpu(usage: &Usage) -> f64 {
    usage.cpu.saturating_sub(usage.target.cpu).as_secs_f64()
}

fn cpu(usage: &Usage) -> f64 {
    usage.cpu.as_secs_f64()
}

fn seconds(usage: &Usage) -> f64 {
    usage.wall.as_secs_f64()
}

fn app_kib(run: &Run) -> f64 {
    run.usage.target.peak_kib as f64
}

/// All of a profiler's processes together.
fn tool_kib(run: &Run) -> f64 {
    run.usage.helpers.values().sum::<u64>() as f64
}
