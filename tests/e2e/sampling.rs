//! Sampling is unbiased: estimates of bytes and counts lie within the error that the same run states.

use crate::support::{Recording, record_with, workload};

/// Sum, estimate and stated standard error of one run.
fn estimates(recording: &Recording) -> [(f64, f64); 2] {
    let row = &recording.sql(
        "select sum(allocated_bytes) as bytes, sqrt(sum(allocated_bytes_variance)) as bytes_error, \
         sum(allocated_blocks) as blocks, sqrt(sum(allocated_blocks_variance)) as blocks_error \
         from stack_stats where domain = 0",
    )[0];
    // No sample at all gives null sums: an estimate of 0.
    let f = |key: &str| row[key].as_f64().unwrap_or(0.0);
    [(f("bytes"), f("bytes_error")), (f("blocks"), f("blocks_error"))]
}

fn z_scores(command: &[&str], interval: &str, seeds: u32) {
    let exact = record_with(&["-q"], command);
    let truth = [exact.number("bytes_allocated") as f64, exact.number("allocations") as f64];
    let (mut sums, mut errors) = ([0.0, 0.0], [0.0, 0.0]);
    let mut worst: f64 = 0.0;
    for _ in 0..seeds {
        let recording = record_with(&["-q", "--sample", interval], command);
        assert_eq!(recording.number("lost_events"), 0);
        for (i, (estimate, error)) in estimates(&recording).into_iter().enumerate() {
            // Where a run has a handful of samples, its own error estimate is as rough as its estimate: the pooled check
            // below uses the exact error instead.
            errors[i] += error * error;
            sums[i] += estimate - truth[i];
            if error > 0.0 && estimate > 100.0 * error / 10.0 {
                worst = worst.max(((estimate - truth[i]) / error).abs());
            }
        }
    }
    for (i, name) in ["bytes", "blocks"].iter().enumerate() {
        // The summed estimates of all seeds against the summed stated variances.
        let z = sums[i] / errors[i].sqrt().max(1.0);
        println!("{command:?} every {interval}: {name} overall z {z:.2}, worst {worst:.2}");
        assert!(z.abs() < 4.0, "{name} are biased: overall z {z:.2} over {seeds} seeds");
    }
    assert!(worst < 6.0, "an estimate is {worst:.1} stated errors off");
}

const SQL: &str = "create table t(a integer primary key, b text); \
    with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) \
    insert into t select i, 'name' || i from n; select count(*), max(b) from t;";

#[test]
fn estimates_lie_within_their_error() {
    let seeds = std::env::var("TMQ_SEEDS").ok().and_then(|v| v.parse().ok()).unwrap_or(8);
    let threads = workload("producers.cpp");
    for interval in ["64K", "512K"] {
        z_scores(&["sqlite3", ":memory:", SQL], interval, seeds);
        z_scores(&[threads.to_str().unwrap()], interval, seeds);
    }
}

#[test]
fn a_process_without_a_sample_has_a_command_line() {
    let recording = record_with(&["-q", "--sample", "4G"], &["sh", "-c", "sleep 0.2; true"]);
    let processes = recording.sql("select exe, argv from processes order by process_id");
    let (exe, argv) = (processes[0]["exe"].to_string(), processes[0]["argv"].to_string());
    assert!(exe.contains("sh") && argv.contains("sleep 0.2; true"), "{exe} {argv}");
}
