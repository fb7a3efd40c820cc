//! What several test modules need: scratch directories, sessions over generated recordings, rows as text.

pub mod canned;
pub mod generate;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tmq_query::arrow::array::RecordBatch;
use tmq_query::arrow::util::display::{ArrayFormatter, FormatOptions};
use tmq_query::{RecordingRef, Session};

pub use generate::{Generated, Shape, generate, generate_empty};

/// A directory that is removed at the end of the test.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tmq-query-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A session over one generated recording named `app`.
pub fn session_of(shape: &Shape) -> (Scratch, Generated, Session) {
    let scratch = Scratch::new();
    let dir = scratch.join("app.tmq");
    let generated = generate(&dir, shape);
    let session = Session::open(&[RecordingRef::new(dir)]).unwrap();
    (scratch, generated, session)
}

/// A session over a recording without allocations.
pub fn empty_session() -> (Scratch, Session) {
    let scratch = Scratch::new();
    let dir = scratch.join("empty.tmq");
    generate_empty(&dir);
    let session = Session::open(&[RecordingRef::new(dir)]).unwrap();
    (scratch, session)
}

/// The rows of a query as text, `NULL` for null.
pub async fn rows(session: &Session, sql: &str) -> Vec<Vec<String>> {
    let rows = session.sql(sql).await.unwrap_or_else(|e| panic!("{e}\n{sql}"));
    texts(&rows.collect().await.unwrap_or_else(|e| panic!("{e}\n{sql}")))
}

/// Batches as text, `NULL` for null.
pub fn texts(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|c| c.value(row).to_string()).collect());
        }
    }
    rows
}
