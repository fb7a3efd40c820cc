//! Every `--help`, the version, completions and manual pages.

use std::fs;

use crate::support::{Scratch, expect};

const COMMANDS: [&str; 16] = [
    "record",
    "top",
    "leaks",
    "temporary",
    "diff",
    "traceback",
    "addr",
    "sql",
    "schema",
    "info",
    "mark",
    "import",
    "export",
    "repair",
    "completions",
    "man",
];

#[test]
fn every_command_has_help_with_examples() {
    let scratch = Scratch::new();
    expect("help", &scratch.run(&["--help"]).ok());
    for command in COMMANDS {
        let help = scratch.run(&[command, "--help"]).ok();
        assert!(help.contains("Examples:"), "{command}");
        assert!(help.lines().all(|l| l.chars().count() <= 100), "{command}: a line is too long");
        expect(&format!("help-{command}"), &help);
    }
}

#[test]
fn the_list_of_commands_is_complete() {
    let help = Scratch::new().run(&["--help"]).ok();
    let listed: Vec<&str> = help
        .lines()
        .skip_while(|l| *l != "Commands:")
        .skip(1)
        .take_while(|l| !l.is_empty())
        .filter_map(|l| l.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .collect();
    assert_eq!(listed, COMMANDS);
}

#[test]
fn short_and_long_help_are_the_same() {
    let scratch = Scratch::new();
    assert_eq!(scratch.run(&["top", "-h"]).ok(), scratch.run(&["top", "--help"]).ok());
}

#[test]
fn without_arguments_help_is_an_error() {
    let ran = Scratch::new().run(&[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("Usage: tmq"));
}

#[test]
fn version() {
    assert_eq!(Scratch::new().run(&["--version"]).ok(), concat!("tmq ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn completions_for_every_shell() {
    let scratch = Scratch::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = scratch.run(&["completions", shell]).ok();
        assert!(script.contains("traceback"), "{shell}");
    }
}

#[test]
fn manual_pages_for_every_command() {
    let scratch = Scratch::new();
    let page = scratch.run(&["man"]).ok();
    assert!(page.contains(".TH"), "{page}");
    assert!(page.contains("cannot be recorded"), "exit codes are in the page");
    scratch.run(&["man", "--dir", "pages"]).ok();
    let pages = fs::read_dir(scratch.path().join("pages")).unwrap().count();
    assert_eq!(pages, COMMANDS.len() + 1);
    for command in COMMANDS {
        let page = fs::read_to_string(scratch.path().join(format!("pages/tmq-{command}.1"))).unwrap();
        assert!(page.contains(&format!("tmq\\-{command}")), "{command}: {page}");
    }
}
