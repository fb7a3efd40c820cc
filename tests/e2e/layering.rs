//! Who may depend on whom, what the preload library exports and needs.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::support::{record_with, root, run};

/// `cli -> query -> store -> wire <- recorder <- preload`; nothing else.
const ALLOWED: &[(&str, &[&str])] = &[
    ("tmq-wire", &[]),
    ("tmq-recorder", &["tmq-wire"]),
    ("tmq-preload", &["tmq-recorder", "tmq-wire"]),
    ("tmq-store", &["tmq-wire"]),
    ("tmq-query", &["tmq-store"]),
    ("tmq", &["tmq-query", "tmq-store"]),
];

#[test]
fn crates_depend_in_one_direction() {
    let output = run(Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root()));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut seen = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let own: BTreeSet<String> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|d| d["path"].is_string() && d["kind"].is_null())
            .map(|d| d["name"].as_str().unwrap().to_owned())
            .collect();
        seen.insert(package["name"].as_str().unwrap().to_owned(), own);
    }
    for (name, allowed) in ALLOWED {
        let own = seen.remove(*name).unwrap_or_else(|| panic!("no package {name}"));
        let allowed: BTreeSet<String> = allowed.iter().map(ToString::to_string).collect();
        assert!(own.is_subset(&allowed), "{name} depends on {own:?}, allowed {allowed:?}");
    }
    assert!(seen.keys().all(|name| name.contains("bench")), "packages without a place: {:?}", seen.keys());
}

fn library() -> String {
    let seen = record_with(&["-q"], &["sh", "-c", "echo $LD_PRELOAD"]);
    String::from_utf8(seen.output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_library_exports_its_hooks_and_nothing_else() {
    let output = run(Command::new("nm").args(["-D", "--defined-only"]).arg(library()));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<&str> = text.lines().filter_map(|l| l.split_whitespace().nth(2)).collect();
    names.sort_unstable();
    let golden = std::fs::read_to_string(root().join("recorder/preload/EXPORTS.txt")).unwrap();
    assert_eq!(names, golden.lines().collect::<Vec<_>>());
}

#[test]
fn the_library_needs_libc_only() {
    let output = run(Command::new("readelf").args(["-dW"]).arg(library()));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut needed: Vec<&str> = text
        .lines()
        .filter(|l| l.contains("(NEEDED)"))
        .filter_map(|l| l.split('[').nth(1)?.strip_suffix(']'))
        .collect();
    needed.sort_unstable();
    let golden = std::fs::read_to_string(root().join("recorder/preload/NEEDED.txt")).unwrap();
    assert_eq!(needed, golden.lines().collect::<Vec<_>>());
}
