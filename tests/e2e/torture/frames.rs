//! Stacks that are hard to walk.

use super::{same, same_command};
use crate::support::workload_with;

#[test]
fn hard_stacks() {
    for flags in
        [&["-O0"][..], &["-O2", "-fomit-frame-pointer"], &["-O2", "-fno-omit-frame-pointer"], &["-O3", "-mavx2"]]
    {
        let program = workload_with("stacks.c", flags);
        let recording = same_command(&[program.to_str().unwrap()]);
        let broken =
            recording.sql("select quality, count(*) as n from stacks where quality <> 'complete' group by quality");
        assert!(broken.is_empty(), "{flags:?} {broken:?}");
    }
    // Segments with gaps between them, the tables in another than the code: what the linkers of large programs make.
    let program = workload_with("stacks.c", &["-O2", "-no-pie", "-Wl,-z,max-page-size=0x200000"]);
    assert_eq!(same_command(&[program.to_str().unwrap()]).with_odd_stacks(), 0);
    let recording = same("stacks.c", &["5000"]);
    assert!(recording.integer("select max(depth) from stacks") > 5000);
}

/// Frames without call frame information end a stack or are marked as guessed; expressions that no compiler writes end it.
#[test]
fn hand_written_frames() {
    let program = workload_with("assembly.c", &["-fno-omit-frame-pointer"]);
    let recording = same_command(&[program.to_str().unwrap()]);
    let paths = recording.paths_of(71);
    let complete = |name: &str| paths.iter().any(|p| p.starts_with(&format!("leaf {name} call_{name} main ")));
    assert!(complete("with_pointer"), "{paths:#?}");
    // What is not complete says so, and invents no caller.
    for path in &paths {
        let callers: Vec<&str> = path.split(' ').skip(1).collect();
        let plausible = callers.len() == 1 || callers[1].starts_with("call_");
        assert!(plausible, "{paths:#?}");
    }
    let silent = "select count(*) from stacks s join stack_frames f on f.stack_id = s.stack_id and f.position = 1 \
        join frames g on g.frame_id = f.frame_id where g.function in ('without_pointer', 'by_expression', 'by_register_expression') \
        and s.quality = 'complete' and s.depth < 4";
    assert_eq!(recording.integer(silent), 0);
}

/// Far deeper than what is kept of a stack: the most recent frames are right, the rest is said to be missing.
#[test]
fn very_deep_recursion() {
    let recording = same("very_deep.c", &["100000"]);
    for (size, leaf) in [(61, "leaf_one descend descend "), (62, "leaf_two descend descend ")] {
        assert_eq!(recording.blocks_of(size), 500);
        let paths = recording.paths_of(size);
        assert!(paths.len() == 1 && paths[0].starts_with(leaf), "{size}: {}", paths.len());
    }
    assert_eq!(recording.blocks_of(63), 10_001);
    assert_eq!(recording.left_between(61, 63), 0);
    assert!(recording.integer("select count(*) from stacks where quality = 'truncated'") > 0);
}
