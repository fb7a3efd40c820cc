//! `tmq sql` without a terminal.

use std::fs;

use crate::fixture;
use crate::support::{Scratch, expect};

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    fixture::recording(scratch.path(), "app.4711.tmq", 1);
    scratch
}

#[test]
fn queries_come_from_arguments_files_and_pipes() {
    let scratch = scratch();
    let query = "select count(*) as n from allocations";
    assert_eq!(scratch.run(&["sql", query]).ok(), "n\n9\n");
    fs::write(scratch.path().join("q.sql"), query).unwrap();
    assert_eq!(scratch.run(&["sql", "-f", "q.sql"]).ok(), "n\n9\n");
    assert_eq!(scratch.run_with_input(&["sql"], query).ok(), "n\n9\n");
    assert_eq!(scratch.run_with_input(&["sql", "-f", "-"], query).ok(), "n\n9\n");
}

#[test]
fn several_statements() {
    let scratch = scratch();
    let text = scratch.run(&["sql", "--format", "table", "select 1 as a; -- two;\nselect ';' as b;"]).ok();
    assert_eq!(text, "a\n-\n1\n\nb\n-\n;\n");
    assert_eq!(scratch.run(&["sql", "-o", "x.parquet", "select 1; select 2"]).code, 2);
}

#[test]
fn parameters() {
    let scratch = scratch();
    let query = "select count(*) as n from allocations where size >= $min and kind = $kind";
    assert_eq!(scratch.run(&["sql", "--param", "min=1000", "--param", "kind=malloc", query]).ok(), "n\n5\n");
    expect("error-sql-param", &scratch.run(&["sql", query]).all());
}

#[test]
fn several_recordings() {
    let scratch = scratch();
    fixture::recording(scratch.path(), "other.tmq", 2);
    let query = "select recording, sum(size) as bytes from allocations where domain = 0 group by recording order by 1";
    let expected = "recording,bytes\napp.4711,52556\nb,105112\n";
    assert_eq!(scratch.run(&["sql", "-r", "app.4711.tmq", "-r", "b=other.tmq", query]).ok(), expected);
    let ran = scratch.run(&["sql", "-r", "*.tmq", "select count(distinct recording) as n from allocations"]);
    assert_eq!(ran.ok(), "n\n2\n");
}

#[test]
fn mistakes_show_where_they_are() {
    let scratch = scratch();
    for (name, query) in [
        ("syntax", "select size,\n  from from allocations"),
        ("end", "select"),
        ("column", "select stack_id,\n  sise from allocations"),
        ("table", "select * from allocation"),
        ("function", "select fnmach(kind, 'm*') from allocations"),
        ("empty", " ; -- nothing"),
        ("write", "create table x as select 1"),
        ("division", "select 1 / 0"),
    ] {
        let ran = scratch.run(&["sql", query]);
        assert_eq!(ran.code, 1, "{name}: {ran:?}");
        expect(&format!("error-sql-{name}"), &ran.all());
    }
}
