//! Whose instructions: from object, file and line to a stage of the hook.
//!
//! Everything on the path is inlined into a few functions, so the function of a profile says little. The line table says
//! from which source line an instruction was compiled; the function around that line, by the table below, says which
//! stage it is. Instructions from the standard library (`ptr::read`, atomics) belong to whoever they were inlined into,
//! taken to be the stage of the nearest instruction before them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::callgrind::Cost;

/// Instructions by row of the table: `malloc: stage`, `free: stage`, or [`BELOW`].
pub type Stages = BTreeMap<String, f64>;

/// The row of what is not tmq's: the program and the allocator that does nothing.
pub const BELOW: &str = "program and allocator";
/// The preload library's file name, in whatever directory it is.
const LIBRARY: &str = "libtmq_preload.so";
/// Functions of the library that serve frees; all others serve allocations.
const OF_FREE: &str = "free";

const HOOK: &str = "hook, call of the real function";
const ENTER: &str = "thread state, guard";
const SAMPLING: &str = "sampling";
const STAMP: &str = "time stamp";
const CHECK: &str = "stack: compare with those before";
const REMEMBER: &str = "stack: remember";
const UNWIND: &str = "stack: unwind fresh frames";
const NODES: &str = "stack: tree nodes";
const WRITE: &str = "record";
const OTHER: &str = "other";
/// Of helpers that several stages use: as the instruction before.
const INHERITED: &str = "";

/// File name, function (empty: all others of the file), stage.
const TABLE: &[(&str, &str, &str)] = &[
    ("hooks.rs", "", HOOK),
    ("real.rs", "", HOOK),
    ("record.rs", "is_due", SAMPLING),
    ("record.rs", "is_due_slow", SAMPLING),
    ("record.rs", "is_wanted", SAMPLING),
    ("record.rs", "mark_sampled", SAMPLING),
    ("record.rs", "", ENTER),
    ("session.rs", "write", WRITE),
    ("session.rs", "", ENTER),
    ("tls.rs", "", ENTER),
    ("process.rs", "", ENTER),
    ("thread.rs", "", ENTER),
    ("region.rs", "", WRITE),
    ("sampler.rs", "", SAMPLING),
    ("sys.rs", "rdtsc", STAMP),
    ("sys.rs", "", OTHER),
    ("walk.rs", "capture", CHECK),
    ("walk.rs", "finish", NODES),
    ("walk.rs", "key_of", NODES),
    ("walk.rs", "", UNWIND),
    ("chain.rs", "unchanged_below", CHECK),
    ("chain.rs", "frame_of_check", CHECK),
    ("chain.rs", "keep", NODES),
    ("chain.rs", "", INHERITED),
    ("memo.rs", "keep", REMEMBER),
    ("memo.rs", "put", REMEMBER),
    ("memo.rs", "", CHECK),
    ("step.rs", "", UNWIND),
    ("rules.rs", "", UNWIND),
    ("stack_bounds.rs", "", UNWIND),
    ("nodes.rs", "", NODES),
    ("stream.rs", "", WRITE),
];

/// Where the recorder's sources are.
const OURS: &str = "/recorder/";
/// Where the wire format is encoded; it has a record.rs, too.
const WIRE: &str = "/wire/src/";
/// The file of what has no line: the stubs in front of the hooks, which are assembly.
const UNKNOWN: &str = "???";
/// The standard library's name for the instruction that reads the time stamp.
const INTRINSIC: &str = "rdtsc.rs";

/// Adds up a profile by stage.
pub fn sum(mut costs: Vec<Cost>) -> Stages {
    let mut functions = Functions::default();
    let mut stages = Stages::new();
    costs.sort_by(|a, b| (&a.object, &a.function, a.address).cmp(&(&b.object, &b.function, b.address)));
    let (mut last_function, mut last_stage) = (String::new(), None);
    for cost in &costs {
        let row = if cost.object.ends_with(LIBRARY) {
            if last_function != cost.function {
                cost.function.clone_into(&mut last_function);
                last_stage = None;
            }
            last_stage = stage(cost, &mut functions).or(last_stage);
            let side = if cost.function.contains(OF_FREE) { "free" } else { "malloc" };
            format!("{side}: {}", last_stage.unwrap_or(OTHER))
        } else {
            BELOW.to_owned()
        };
        *stages.entry(row).or_default() += cost.instructions as f64;
    }
    stages
}

/// The stage of an instruction by its source line, if that is one of ours.
fn stage(cost: &Cost, functions: &mut Functions) -> Option<&'static str> {
    let name = Path::new(&cost.file).file_name()?.to_str()?;
    if name == UNKNOWN {
        return Some(HOOK);
    }
    if name == INTRINSIC {
        return Some(STAMP);
    }
    if cost.file.contains(WIRE) {
        return Some(WRITE);
    }
    // The standard library has files of the same names, and line 0 is no line.
    if !cost.file.contains(OURS) || cost.line == 0 {
        return None;
    }
    let of_file = |wanted: &str| TABLE.iter().find(|(file, f, _)| *file == name && *f == wanted);
    let function = functions.around(&cost.file, cost.line);
    let found = of_file(&function).or_else(|| of_file("")).map(|(_, _, stage)| *stage);
    found.filter(|stage| *stage != INHERITED)
}

/// Functions of source files by their first line.
#[derive(Debug, Default)]
struct Functions(HashMap<String, Vec<(u32, String)>>);

impl Functions {
    /// Name of the function around a line; empty without the source.
    fn around(&mut self, file: &str, line: u32) -> String {
        let starts = self.0.entry(file.to_owned()).or_insert_with(|| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            (1..).zip(text.lines()).filter_map(|(n, line)| Some((n, defined(line)?.to_owned()))).collect()
        });
        let after = starts.partition_point(|(first, _)| *first <= line);
        after.checked_sub(1).map_or(String::new(), |i| starts[i].1.clone())
    }
}

/// Name of the function whose definition starts on this line.
fn defined(line: &str) -> Option<&str> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let qualifiers = before.split_whitespace();
    let is_definition = qualifiers.into_iter().all(|word| {
        word.starts_with("pub") || matches!(word, "unsafe" | "const" | "extern" | "\"C\"") || word.ends_with(')')
    });
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (is_definition && end > 0).then(|| &after[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_told_from_other_lines() {
        assert_eq!(defined("    pub(super) unsafe extern \"C\" fn f(x: u8) {"), Some("f"));
        assert_eq!(defined("fn walk(process: &Process) -> u32 {"), Some("walk"));
        assert_eq!(defined("    // a fn of it"), None);
        assert_eq!(defined("    let f: fn (u8);"), None);
    }

    #[test]
    fn instructions_of_the_standard_library_belong_to_the_one_before() {
        let cost = |function: &str, file: &str, address| Cost {
            object: "/x/libtmq_preload.so".to_owned(),
            function: function.to_owned(),
            file: file.to_owned(),
            address,
            line: 1,
            instructions: 1,
        };
        let stages = sum(vec![
            cost("body::malloc", "/rustc/core/src/ptr/mod.rs", 3),
            cost("body::malloc", "/x/recorder/src/stream.rs", 2),
            cost("body::malloc", "/x/recorder/src/tls.rs", 1),
            cost("body::free", "/rustc/core/src/ptr/mod.rs", 9),
            Cost { object: "/lib/other.so".to_owned(), ..cost("f", "", 1) },
        ]);
        let want = [("free: other", 1.0), ("malloc: record", 2.0), ("malloc: thread state, guard", 1.0), (BELOW, 1.0)];
        assert_eq!(stages.into_iter().collect::<Vec<_>>(), want.map(|(name, n)| (name.to_owned(), n)));
    }
}
