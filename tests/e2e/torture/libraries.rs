//! Code that comes and goes: constructors, `dlopen`, `dlclose`.

use std::path::PathBuf;
use std::process::Command;

use super::{long, same, same_command, same_with};
use crate::support::{run, scratch, workload, workload_with};

#[test]
fn before_and_after_main() {
    let recording = same("early.c", &[]);
    let of =
        |size: i64| recording.integer(&format!("select count(*) from allocations where size = {size} and domain = 0"));
    assert_eq!((of(22), of(77), of(78)), (1, 1, 1), "{:?}", recording.sql("select size from allocations"));
}

/// A hundred libraries that allocate before the program's own constructors, and the functions by which the loader chooses
/// implementations while it links.
#[test]
fn earliest_allocations() {
    const LIBRARIES: usize = 100;
    let dir = scratch("libraries");
    let library = library(&dir, "early_library.c", "early.so", &[]);
    let copies: Vec<String> = (0..LIBRARIES).map(|i| dir.join(format!("early{i}.so")).display().to_string()).collect();
    for copy in &copies {
        std::fs::copy(&library, copy).unwrap();
    }
    for binding in ["lazy", "now"] {
        let binding = format!("-Wl,-z,{binding}");
        let flags: Vec<&str> = std::iter::once(binding.as_str()).chain(copies.iter().map(String::as_str)).collect();
        let program = workload_with("resolvers.c", &[&["-Wl,--no-as-needed"], flags.as_slice()].concat());
        let recording = same_command(&[program.to_str().unwrap()]);
        assert_eq!(recording.blocks_of(611), LIBRARIES as i64);
        assert_eq!(recording.blocks_of(614), LIBRARIES as i64);
        assert_eq!(recording.left_between(611, 614), 0);
        assert_eq!(recording.blocks_of(613), 1);
        assert!(recording.blocks_of(612) >= 1);
    }
}

#[test]
fn reused_library_addresses() {
    let (a, b) = (workload("unload_a.c"), workload("unload_b.c"));
    let recording = same("unload.c", &[a.to_str().unwrap(), b.to_str().unwrap()]);
    for (size, function) in [(222, "allocate_in_library"), (444, "allocate_elsewhere_")] {
        let rows = recording.sql(&format!(
            "select f.function, count(*) as n from allocations a join stacks s on a.stack_id = s.stack_id \
             join frames f on f.frame_id = s.user_leaf_frame_id where a.size = {size} group by f.function"
        ));
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!((rows[0]["function"].as_str(), rows[0]["n"].as_i64()), (Some(function), Some(1000)), "{rows:?}");
    }
}

/// Two libraries whose code differs in nothing but the size of a frame, which allocate 222 and 444 bytes.
fn two_frames() -> [String; 2] {
    let dir = scratch("frames");
    let of = |name: &str, frame: &str, size: &str| {
        let flags = [format!("-DFRAME={frame}"), format!("-DSIZE={size}")];
        library(&dir, "frame_library.c", name, &flags.each_ref().map(String::as_str)).display().to_string()
    };
    [of("small.so", "512", "222"), of("large.so", "1024", "444")]
}

/// Children that unload what their parents used, by the `dlclose` that is seen and by another.
#[test]
fn unloaded_in_fork_children() {
    let [small, large] = two_frames();
    for more in [&[][..], &["unseen"][..]] {
        let arguments = [&[small.as_str(), large.as_str()][..], more].concat();
        let recording = same("fork_unload.c", &arguments);
        for (size, calls) in [(222, 40), (444, 30)] {
            assert_eq!(recording.blocks_of(size), calls);
            let paths = recording.paths_of(size);
            let is_right = |path: &String| path.starts_with("allocate_in_frame use main ");
            assert!(!paths.is_empty() && paths.iter().all(is_right), "{size} bytes: {paths:?}");
        }
        assert_eq!(recording.with_odd_stacks(), 0);
        assert!(recording.blocks_of(888) > 0, "no library came to where another one was");
        assert_eq!(recording.lost("late_unload"), 0);
    }
}

/// Code that is no library's where a library lay.
#[test]
fn code_made_where_a_library_lay() {
    let library = library(&scratch("jit"), "jit_library.c", "jit.so", &[]).display().to_string();
    let program = workload_with("jit_unload.c", &["-rdynamic"]);
    for more in [&[][..], &["moved"][..]] {
        let command = [&[program.to_str().unwrap(), library.as_str()][..], more].concat();
        let recording = same_command(&command);
        assert_eq!(String::from_utf8_lossy(&recording.output.stdout), "done\n");
        let of_library = "allocate_for allocate_in_frame use main ";
        for (size, path) in [(222, of_library), (555, "allocate_for ?? use main ")] {
            assert_eq!(recording.blocks_of(size), 10);
            let paths = recording.paths_of(size);
            assert!(!paths.is_empty() && paths.iter().all(|p| p.starts_with(path)), "{size} bytes: {paths:?}");
        }
    }
}

/// Compiles a workload to a library of this name.
fn library(dir: &std::path::Path, source: &str, name: &str, flags: &[&str]) -> PathBuf {
    let out = dir.join(name);
    let source = crate::support::root().join("tests/workloads").join(source);
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-g", "-w", "-fno-builtin", "-shared", "-fPIC"]).arg(&source).args(flags);
    let output = run(compiler.arg("-o").arg(&out));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out
}

#[test]
fn dependencies_found_by_the_library() {
    let dir = scratch("plugin");
    library(&dir, "plugin_dep.c", "libplugin_dep.so", &[]);
    let search = format!("-L{}", dir.display());
    let flags = [search.as_str(), "-lplugin_dep", "-Wl,-rpath,$ORIGIN", "-Wl,--enable-new-dtags", "-Wl,-z,lazy"];
    let plugin = library(&dir, "plugin.c", "plugin.so", &flags);
    let recording = same("open_plugin.c", &[plugin.to_str().unwrap()]);
    for (size, path) in
        [(511, "load_dependency "), (512, "allocate_in_dependency allocate_in_plugin main "), (513, "load_plugin ")]
    {
        let paths = recording.paths_of(size);
        assert_eq!(recording.blocks_of(size), if size == 512 { 200 } else { 20 });
        assert!(!paths.is_empty() && paths.iter().all(|p| p.starts_with(path)), "{size}: {paths:?}");
    }
    assert_eq!(recording.left_between(511, 513), 0);
}

/// Four libraries: two that differ, each twice.
fn four_libraries() -> Vec<String> {
    let dir = scratch("four");
    let copy = |i: usize, from: &str| {
        let to = dir.join(format!("{i}.so"));
        std::fs::copy(workload(from), &to).unwrap();
        to.display().to_string()
    };
    (0..4).map(|i| copy(i, ["unload_a.c", "unload_b.c"][i % 2])).collect()
}

#[test]
fn loading_in_many_threads() {
    let libraries = four_libraries();
    let rounds = if long() { "2000" } else { "40" };
    let arguments: Vec<&str> = ["64", rounds].into_iter().chain(libraries.iter().map(String::as_str)).collect();
    let recording = same("dl_storm.cpp", &arguments);
    let calls = 64 * rounds.parse::<i64>().unwrap();
    assert_eq!(recording.blocks_of(222) + recording.blocks_of(444), calls);
    for (size, function) in [(222, "allocate_in_library"), (444, "allocate_elsewhere_")] {
        let wrong: Vec<String> = recording.paths_of(size).into_iter().filter(|p| !p.starts_with(function)).collect();
        assert!(wrong.is_empty(), "{size} bytes are allocated by {function}: {wrong:?}");
    }
    for size in [111, 333] {
        assert_eq!(recording.left_between(size, size), 0);
    }
}

/// More loads than generations of code can be told apart at one time; in the long form, than modules can be numbered.
#[test]
fn endless_loading() {
    let libraries = four_libraries();
    let rounds = if long() { "70000" } else { "9000" };
    let arguments: Vec<&str> = ["1", rounds].into_iter().chain(libraries.iter().map(String::as_str)).collect();
    let program = workload("dl_storm.cpp");
    let recording = same_with(&[], &[&[program.to_str().unwrap()], arguments.as_slice()].concat());
    recording.check_nothing_lost();
    for (size, function) in [(222, "allocate_in_library"), (444, "allocate_elsewhere_")] {
        let wrong: Vec<String> = recording.paths_of(size).into_iter().filter(|p| !p.starts_with(function)).collect();
        assert!(wrong.is_empty(), "{size} bytes are allocated by {function}: {wrong:?}");
    }
}
