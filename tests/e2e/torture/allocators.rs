//! Other allocators than the C library's: preloaded, linked, or inside the program.

use std::process::Command;

use super::same_with;
use crate::support::{Recording, compile, record_with, root, run, scratch, shell_status, tmq, workload, workload_with};

/// The allocator libraries of Debian.
fn libraries() -> [String; 3] {
    ["jemalloc", "tcmalloc_minimal", "mimalloc"].map(|library| {
        let path = format!("/usr/lib/x86_64-linux-gnu/lib{library}.so");
        let versions = ["", ".2", ".4", ".2.0"].iter().map(|v| format!("{path}{v}"));
        let found = versions.into_iter().find(|p| std::path::Path::new(p).exists());
        found.unwrap_or_else(|| panic!("lib{library} is missing (see CONTRIBUTING.md)"))
    })
}

/// (size, blocks) of `operators.cpp`.
const OPERATORS: [(i64, i64); 14] = [
    (1801, 100),
    (1802, 100),
    (1803, 100),
    (1804, 100),
    (1805, 100),
    (1806, 100),
    (1856, 100),
    (1920, 200),
    (1984, 100),
    (2048, 100),
    (2112, 100),
    (2176, 100),
    (1850, 100),
    (1870, 100),
];

fn check_operators(recording: &Recording, what: &str) {
    recording.check_nothing_lost();
    for (size, blocks) in OPERATORS {
        assert_eq!(recording.blocks_of(size), blocks, "{what}: blocks of {size} bytes");
        let paths = recording.paths_of(size);
        assert!(!paths.is_empty() && paths.iter().all(|p| p.contains("main ")), "{what} {size}: {paths:?}");
    }
    assert_eq!(recording.left_between(1800, 2176), 0, "{what}");
    let foreign = "select coalesce(sum(foreign_frees), 0) from processes where exe like '%operators'";
    assert_eq!(recording.integer(foreign), 0, "{what}");
}

#[test]
fn operators_of_the_standard_library() {
    let program = workload("operators.cpp");
    let recording = same_with(&["--verify=1"], &[program.to_str().unwrap()]);
    check_operators(&recording, "libstdc++");
    assert!(recording.output.stdout.starts_with(b"3 thrown"));
}

/// A preloaded allocator's operators do not go through its `malloc`, or only some of them do.
#[test]
fn preloaded_allocators() {
    let program = workload("operators.cpp").display().to_string();
    for library in libraries() {
        // mimalloc ends the program where C++ would throw.
        let fails = if library.contains("mimalloc") { " without" } else { "" };
        let behind = format!("LD_PRELOAD=\"$LD_PRELOAD:{library}\" exec {program}{fails}");
        let recording = same_with(&["--verify=1"], &["sh", "-c", &behind]);
        check_operators(&recording, &library);
        assert_eq!(recording.lost("bypassed"), 0);

        let sampled = same_with(&["--sample=16K"], &["sh", "-c", &behind]);
        let bytes = sampled.number("bytes_allocated") as f64 / recording.number("bytes_allocated") as f64;
        assert!((0.5..2.0).contains(&bytes), "{library}: estimated {bytes} times what it is");

        let before = format!("LD_PRELOAD=\"{library}:$LD_PRELOAD\" exec {program}{fails}");
        let recording = same_with(&["--verify=1"], &["sh", "-c", &before]);
        assert_eq!(recording.lost("bypassed"), 1, "{library}: {:?}", recording.sql("select * from losses"));
    }
}

#[test]
fn linked_allocators() {
    for library in libraries() {
        let program = workload_with("operators.cpp", &["-Wl,--no-as-needed", &library]).display().to_string();
        let arguments: &[&str] = if library.contains("mimalloc") { &[&program, "without"] } else { &[&program] };
        check_operators(&same_with(&["--verify=1"], arguments), &library);
    }
}

/// Callers in assembler: tcmalloc's operators bear a stack that is off by a word, and so do those before it.
#[test]
fn operators_from_a_stack_that_is_not_aligned() {
    let program = workload("misaligned.c").display().to_string();
    // A C program finds operators only under tmq; they do what they should.
    let recording = same_with(&["--verify=1", "--free-stacks"], &[&program]);
    check_unaligned(&recording, "without C++");
    let own = "select count(*) from frames join modules using (module_id) where path like '%tmq_preload%'";
    assert_eq!(recording.integer(own), 0, "{:?}", recording.sql("select * from frames"));
    // Of the others' code some crashes there without tmq.
    let [_, tcmalloc, _] = libraries();
    let behind = format!("LD_PRELOAD=\"$LD_PRELOAD:{tcmalloc}\" exec {program}");
    check_unaligned(&same_with(&["--verify=1"], &["sh", "-c", &behind]), &tcmalloc);
    same_with(&["--sample=4K"], &["sh", "-c", &behind]);
}

fn check_unaligned(recording: &Recording, what: &str) {
    recording.check_nothing_lost();
    for size in [401, 448, 403] {
        assert_eq!(recording.blocks_of(size), 100, "{what}: blocks of {size} bytes");
        assert_eq!(recording.left_between(size, size), 0, "{what}: blocks of {size} bytes");
        let paths = recording.paths_of(size);
        assert!(!paths.is_empty() && paths.iter().all(|p| p.contains("use_operators main ")), "{what}: {paths:?}");
    }
}

/// C++ that comes into a C program long after its start, and goes again.
#[test]
fn operators_of_libraries_loaded_late() {
    let dir = scratch("late-cpp");
    let source = dir.join("plugin.cpp");
    let text = "#include <string>\nextern \"C\" void *allocate_in_plugin() { return new char[7654]; }\n\
        extern \"C\" void give(void *p) { delete[] static_cast<char *>(p); }\n";
    std::fs::write(&source, text).unwrap();
    let plugin = dir.join("plugin.so");
    let compiled = run(Command::new("c++").args(["-O1", "-g", "-shared", "-fPIC", "-o"]).arg(&plugin).arg(&source));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let program = workload("open_plugin.c");
    let recording = same_with(&["--verify=1"], &[program.to_str().unwrap(), plugin.to_str().unwrap()]);
    recording.check_nothing_lost();
    assert_eq!(recording.blocks_of(7654), 200);
    assert_eq!(recording.left_between(7654, 7654), 0);
    let paths = recording.paths_of(7654);
    assert!(paths.iter().all(|p| p.contains("allocate_in_plugin main ")), "{paths:?}");
}

fn refused(command: &str, reason: &str) {
    let recording = record_with(&[], &[command]);
    let message = String::from_utf8_lossy(&recording.output.stderr).into_owned();
    assert_eq!(recording.output.status.code(), Some(3), "{message}");
    assert!(message.contains(reason), "{message}");
    let anyway = record_with(&["--anyway"], &[command]);
    let bare = run(&mut Command::new(command));
    assert_eq!(anyway.output.stdout, bare.stdout);
    let message = String::from_utf8_lossy(&anyway.output.stderr).into_owned();
    assert!(shell_status(anyway.output.status) == shell_status(bare.status) || bare.status.success(), "{message}");
}

#[test]
fn executables_with_their_own_malloc() {
    let program = workload_with("own_malloc.c", &["-rdynamic"]).display().to_string();
    refused(&program, "malloc of its own");
    // Of a child it is found out while it runs.
    let recording = same_with(&["--verify=1"], &["sh", "-c", &format!("{program}; true")]);
    assert_eq!(recording.lost("bypassed"), 1, "{:?}", recording.sql("select * from losses"));
    let of = |path: &str| format!("select sum(allocations) from processes where exe like '%{path}%'");
    assert_eq!(recording.integer(&of("own_malloc")), 0);
}

#[test]
fn executables_without_a_loader() {
    for (flags, reason) in
        [(&["-static", "-nostdlib"][..], "statically linked"), (&["-static", "-nostdlib", "-DGO"], "Go")]
    {
        let source = std::fs::read_to_string(root().join("tests/workloads/no_libc.c")).unwrap();
        let program = compile_bare(&source, flags);
        refused(&program, reason);
        let recording = same_with(&["--verify=1"], &["sh", "-c", &format!("{program}; echo $?")]);
        assert_eq!(recording.output.stdout, b"no libc\n5\n");
    }
}

fn compile_bare(source: &str, flags: &[&str]) -> String {
    let dir = scratch("bare");
    let (file, out) = (dir.join("program.c"), dir.join("program"));
    std::fs::write(&file, source).unwrap();
    let output = run(Command::new("cc").args(flags).arg(&file).arg("-o").arg(&out));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out.display().to_string()
}

/// A Rust program with an allocator in itself: tmq.
#[test]
fn programs_with_an_allocator_linked_in() {
    let binary = tmq().get_program().to_string_lossy().into_owned();
    let recording = record_with(&[], &[&binary, "--version"]);
    let message = String::from_utf8_lossy(&recording.output.stderr).into_owned();
    assert!(message.contains("mimalloc is linked into it"), "{message}");
    assert_eq!(recording.output.stdout, run(tmq().arg("--version")).stdout);
    assert!(recording.output.status.success());
    let hello =
        compile("#include <stdlib.h>\nint main(void) { free(malloc(10)); return 0; }\n", &["-fsanitize=address"]);
    refused(hello.to_str().unwrap(), "sanitizer");
}
