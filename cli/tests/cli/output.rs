//! Formats, files and pipes.

use std::fs;
use std::process::Stdio;

use crate::fixture;
use crate::support::{Scratch, expect};

const QUERY: &str = "select stack_id, depth, quality, frames from stacks order by stack_id";

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    fixture::recording(scratch.path(), "app.4711.tmq", 1);
    scratch
}

#[test]
fn text_formats() {
    let scratch = scratch();
    for format in ["table", "csv", "json", "ndjson", "markdown"] {
        let text = scratch.run(&["sql", "--format", format, QUERY]).ok();
        expect(&format!("format-{format}"), &text);
    }
}

#[test]
fn no_rows_in_every_format() {
    let scratch = scratch();
    let mut all = String::new();
    for format in ["table", "csv", "json", "ndjson", "markdown"] {
        let text = scratch.run(&["sql", "--format", format, "select stack_id, quality from stacks where false"]).ok();
        all += &format!("--- {format}\n{text}");
    }
    expect("format-no-rows", &all);
}

#[test]
fn binary_formats_can_be_read_back() {
    let scratch = scratch();
    scratch.run(&["sql", "-o", "out.parquet", QUERY]).ok();
    let parquet = fs::read(scratch.path().join("out.parquet")).unwrap();
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    scratch.run(&["sql", "-o", "out.arrow", QUERY]).ok();
    let file = fs::File::open(scratch.path().join("out.arrow")).unwrap();
    let rows: usize = arrow::ipc::reader::FileReader::try_new(file, None).unwrap().map(|b| b.unwrap().num_rows()).sum();
    assert_eq!(rows, 4);
    let stream = scratch.command(&["sql", "--format", "arrow", QUERY]).output().unwrap().stdout;
    let reader = arrow::ipc::reader::StreamReader::try_new(stream.as_slice(), None).unwrap();
    assert_eq!(reader.map(|b| b.unwrap().num_rows()).sum::<usize>(), 4);
}

#[test]
fn a_pipe_gets_csv_and_nothing_else() {
    let ran = scratch().run(&["-q", "sql", "select 1 as one"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str(), ran.code), ("one\n1\n", "", 0));
}

#[test]
fn a_failed_query_leaves_no_file() {
    let scratch = scratch();
    let before = fs::read_dir(scratch.path()).unwrap().count();
    assert_eq!(scratch.run(&["sql", "-o", "out.csv", "select nope from stacks"]).code, 1);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), before);
}

#[test]
fn a_closed_pipe_is_success_in_every_format() {
    let scratch = scratch();
    let many = "select a.value, b.value as other from generate_series(1, 3000) a cross join generate_series(1, 3000) b";
    for format in ["table", "csv", "json", "ndjson", "markdown", "parquet", "arrow"] {
        let mut child = scratch
            .command(&["-q", "sql", "--format", format, many])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        std::io::Read::read_exact(&mut stdout, &mut [0; 4]).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{format}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{format}");
    }
}

#[test]
fn colour_only_where_it_belongs() {
    let scratch = scratch();
    assert!(!scratch.run(&["top"]).ok().contains('\x1b'));
    assert!(scratch.run(&["--color", "always", "top"]).ok().contains('\x1b'));
    scratch.run(&["--color", "always", "top", "-o", "top.txt"]).ok();
    assert!(!fs::read_to_string(scratch.path().join("top.txt")).unwrap().contains('\x1b'));
}
