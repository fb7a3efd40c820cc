//! What can be done to blocks.

use super::{long, same, same_with};
use crate::support::{scratch, workload};

#[test]
fn blocks_that_change_threads() {
    for threads in ["2", "8", "16"] {
        let recording = same("ping_pong.c", &[threads, if long() { "6000000" } else { "50000" }]);
        let left = "select count(*) from allocations where free_ns is null and domain = 0 and size < 4000 and kind <> 'calloc'";
        let rows = recording.sql(left);
        assert!(rows[0].as_object().unwrap().values().next().unwrap().as_i64().unwrap() <= 2, "{rows:?}");
    }
}

#[test]
fn corner_cases_and_errno() {
    let recording = same("semantics.c", &[]);
    // One row per call that gave a block; failed ones leave no trace; 8 GiB is kept whole.
    assert_eq!(recording.integer("select count(*) from allocations where size = 8589934592"), 1);
    assert_eq!(
        recording.integer("select count(*) from allocations where domain = 0 and free_ns is null and size = 100"),
        0
    );
    let maps = recording.sql("select size from allocations where domain = 1 order by size");
    let sizes: Vec<i64> = maps.iter().map(|r| r["size"].as_i64().unwrap()).collect();
    assert_eq!(sizes.iter().sum::<i64>(), (2 + 3 + 5 + 50) * 4096, "{sizes:?}");
}

#[test]
fn aligned_blocks_and_usable_sizes() {
    let recording = same("aligned.c", &[]);
    assert_eq!(recording.left_between(1, 100_000), recording.left_between(1024, 100_000), "only what libc keeps");
    let large = "select count(*) from allocations where domain = 1 and size in (1099511627776, 35184372088832)";
    assert_eq!(recording.integer(large), 2);
    assert_eq!(recording.integer(&format!("{large} and free_ns is null")), 0);
}

/// The hooks are compiled code, which takes the stack to be aligned.
#[test]
fn calls_from_a_stack_that_is_not_aligned() {
    let recording = same("misaligned.c", &[]);
    for size in [100, 201, 302] {
        assert_eq!(recording.blocks_of(size), 3000);
        assert_eq!(recording.left_between(size, size), 0);
    }
    let ranges =
        |size: i64| format!("select count(*) from allocations where domain = 1 and size = {size} and free_ns > 0");
    assert_eq!([8192, 12288].map(|size| recording.integer(&ranges(size))), [100, 100]);
    let program = workload("misaligned.c");
    for options in [&["--sample=4K"][..], &["--free-stacks"]] {
        same_with(options, &[program.to_str().unwrap()]);
    }
}

/// The program counts what it does: nothing else is recorded of those sizes.
#[test]
fn reallocs_across_threads() {
    let counted = scratch("realloc").join("counts");
    let rounds = if long() { "2000000" } else { "20000" };
    let recording = same("realloc_storm.c", &["16", rounds, counted.to_str().unwrap()]);
    let text = std::fs::read_to_string(&counted).unwrap();
    let counts: Vec<i64> = text.split_whitespace().map(|n| n.parse().unwrap()).collect();
    let of = |kinds: &str| {
        recording.integer(&format!("select count(*) from allocations where domain = 0 and kind in ({kinds})"))
    };
    assert_eq!(
        of("'realloc'"),
        counts[0] + counts[1],
        "{text} {:?}",
        recording.sql("select kind, count(*) as n from allocations group by kind")
    );
    let left = "select count(*) from allocations where domain = 0 and kind = 'realloc' and free_ns is null";
    assert_eq!(recording.integer(left), 0);
}
