//! The canned questions in DuckDB, on the same files: the same rows.
//!
//! Needs a Python with the package duckdb: the one named in `TMQ_TEST_PYTHON`, or `python3`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tmq_query::Session;
use tmq_query::arrow::array::RecordBatch;
use tmq_query::arrow::json::WriterBuilder;
use tmq_query::arrow::json::writer::JsonArray;

use crate::support::canned::canned;
use crate::support::{Shape, session_of};

fn python() -> std::ffi::OsString {
    let python = std::env::var_os("TMQ_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let import = Command::new(&python).args(["-c", "import duckdb"]).output();
    let found = import.is_ok_and(|output| output.status.success());
    assert!(found, "{} has no package duckdb: `.ci/run` installs it", python.display());
    python
}

/// Rows as JSON arrays of values.
fn json(batches: &[RecordBatch]) -> Vec<Value> {
    let mut out = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(&mut out);
    batches.iter().for_each(|b| writer.write(b).unwrap());
    writer.finish().unwrap();
    let Some(first) = batches.first() else { return Vec::new() };
    let rows: Vec<Value> = if out.is_empty() { Vec::new() } else { serde_json::from_slice(&out).unwrap() };
    let names: Vec<_> = first.schema().fields().iter().map(|f| f.name().clone()).collect();
    rows.iter().map(|row| names.iter().map(|n| row[n].clone()).collect()).collect()
}

/// Equal, but for the last digits of floats.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(k, v)| same(v, &b[k])),
        _ => a == b,
    }
}

async fn compare(session: &Session, recording: &Path, python: &std::ffi::OsStr) {
    let questions = canned(session).unwrap();
    let file = recording.with_extension("questions");
    let lines: Vec<String> =
        questions.iter().map(|(name, sql)| serde_json::json!({"name": name, "sql": sql}).to_string()).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/duckdb_compare.py");
    let output = Command::new(python).arg(script).arg("rows").arg(recording).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), questions.len());
    for (answer, (name, sql)) in answers.lines().zip(&questions) {
        let theirs: Value = serde_json::from_str(answer).unwrap();
        let ours = json(&session.sql(sql).await.unwrap().collect().await.unwrap());
        let theirs = theirs["rows"].as_array().unwrap();
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!(same(ours, theirs), "{name}\n{ours}\n{theirs}\n{sql}");
        }
    }
}

#[tokio::test]
async fn duckdb_gives_the_same_rows() {
    let python = python();
    for sampled in [false, true] {
        let (scratch, _, session) = session_of(&Shape { sampled, ..Shape::default() });
        compare(&session, &scratch.join("app.tmq"), &python).await;
    }
}
