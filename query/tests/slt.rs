//! Behaviour in SQL: the files in `tests/slt/`, each over the recordings that its first line names.
//!
//! A file is blocks separated by empty lines: `query`, the SQL, `----`, one line per row with values separated by tabs;
//! or `error TEXT` and the SQL, whose message must contain the text. With `TMQ_SLT_COMPLETE=1` in the environment the
//! expected rows are written from what the engine answers; review the difference.

use std::fmt::Write as _;
use std::path::Path;

use tmq_query::{RecordingRef, Session};

use crate::support::{Scratch, Shape, generate, generate_empty, texts};

/// The recordings that a file can ask for.
fn open(name: &str) -> (Scratch, Session) {
    let scratch = Scratch::new();
    let shape = Shape { allocations: 400, stacks: 12, frames: 14, depth: 5, live: 60, ..Shape::default() };
    let names: &[&str] = match name {
        "one" => &["app"],
        "two" => &["old", "new"],
        "empty" => &["nothing"],
        other => panic!("unknown recordings {other}"),
    };
    for (seed, name) in names.iter().enumerate() {
        let dir = scratch.join(&format!("{name}.tmq"));
        match *name {
            "nothing" => generate_empty(&dir),
            _ => drop(generate(&dir, &Shape { seed: seed as u64, ..shape.clone() })),
        }
    }
    let refs: Vec<_> = names.iter().map(|n| RecordingRef::new(scratch.join(&format!("{n}.tmq")))).collect();
    let session = Session::open(&refs).unwrap();
    (scratch, session)
}

async fn answer(session: &Session, sql: &str) -> Result<String, String> {
    let rows = session.sql(sql).await.map_err(|e| e.to_string())?.collect().await.map_err(|e| e.to_string())?;
    Ok(texts(&rows).iter().fold(String::new(), |mut out, row| {
        let _ = writeln!(out, "{}", row.join("\t"));
        out
    }))
}

/// One block as it should be, and whether it is.
async fn check(session: &Session, block: &str, path: &Path) -> (String, bool) {
    let (head, rest) = block.split_once('\n').unwrap_or((block, ""));
    if let Some(expected) = head.strip_prefix("error ") {
        let error = answer(session, rest).await.expect_err(rest);
        assert!(error.contains(expected), "{}: {rest}\n{error}", path.display());
        return (block.to_owned(), true);
    }
    if head != "query" {
        return (block.to_owned(), true);
    }
    let (sql, expected) = rest.split_once("\n----").unwrap_or((rest, ""));
    let got = answer(session, sql).await.unwrap_or_else(|e| panic!("{}: {sql}\n{e}", path.display()));
    let same = expected.trim() == got.trim();
    (format!("query\n{sql}\n----\n{}", got.trim_end()).trim_end().to_owned(), same)
}

#[tokio::test]
async fn files_hold() {
    let complete = std::env::var_os("TMQ_SLT_COMPLETE").is_some();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let (head, _) = text.split_once('\n').unwrap();
        let (_scratch, session) = open(head.strip_prefix("# recordings: ").unwrap());
        let mut blocks = Vec::new();
        for block in text.trim_end().split("\n\n") {
            let (now, same) = check(&session, block, &path).await;
            assert!(same || complete, "{}\nexpected\n{block}\ngot\n{now}", path.display());
            blocks.push(now);
        }
        if complete {
            std::fs::write(&path, blocks.join("\n\n") + "\n").unwrap();
        }
    }
}
