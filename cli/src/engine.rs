//! Recordings opened for questions, and the threads that answer them.
//!
//! Queries run on worker threads; the main thread only waits for their rows and for Ctrl-C. A computation may keep every
//! worker busy for seconds without looking up, and must not keep Ctrl-C waiting: so the main thread has a runtime of its
//! own, and a query that is dropped is left behind to notice by itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::{Stream, StreamExt, TryStreamExt};
use tmq_query::report::Report;
use tmq_query::{Info, RecordingRef, Session, SessionOptions};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::exit::Exit;

/// Batches that wait to be written. Few: whoever computes faster than the output takes rows waits.
const BATCHES_AHEAD: usize = 4;

/// Recordings and threads.
#[derive(Debug)]
pub(crate) struct Engine {
    session: Arc<Session>,
    waiting: Runtime,
    /// `None` only while it is dropped.
    working: Option<Runtime>,
}

impl Engine {
    /// Opens one recording.
    pub(crate) fn open(reference: &RecordingRef) -> Result<Self> {
        Self::open_with(std::slice::from_ref(reference), &SessionOptions::default())
    }

    /// Opens recordings.
    pub(crate) fn open_with(references: &[RecordingRef], options: &SessionOptions) -> Result<Self> {
        let failed = |e| Error::io("cannot start threads", &e);
        Ok(Self {
            session: Arc::new(Session::open_with(references, options)?),
            waiting: Builder::new_current_thread().enable_all().build().map_err(failed)?,
            working: Some(Builder::new_multi_thread().enable_all().build().map_err(failed)?),
        })
    }

    /// Runs a question to its end. Ctrl-C drops it, which stops its queries and removes unfinished files.
    pub(crate) fn block_on<T>(&self, question: impl Future<Output = Result<T>>) -> Result<T> {
        self.waiting.block_on(async {
            tokio::select! {
                result = question => result,
                _ = tokio::signal::ctrl_c() => Err(Error::new("interrupted").exit(Exit::Interrupted)),
            }
        })
    }

    /// Starts an SQL statement.
    pub(crate) async fn sql(&self, sql: &str) -> Result<Answer> {
        let session = Arc::clone(&self.session);
        let sql = sql.to_owned();
        self.answer(async move { session.sql(&sql).await }).await
    }

    /// Starts a report.
    pub(crate) async fn report(&self, report: &Report) -> Result<Answer> {
        let session = Arc::clone(&self.session);
        let report = report.clone();
        self.answer(async move { session.report(&report).await }).await
    }

    /// The SQL behind a report, which runs as it is.
    pub(crate) fn report_sql(&self, report: &Report) -> Result<String> {
        Ok(self.session.report_sql(report)?)
    }

    /// Totals of the first recording.
    pub(crate) fn info(&self) -> Result<Info> {
        Ok(self.session.info(0)?)
    }

    /// Names for completion.
    pub(crate) fn names(&self) -> Vec<String> {
        self.session.names()
    }

    async fn answer(
        &self,
        rows: impl Future<Output = Result<tmq_query::Rows, tmq_query::Error>> + Send + 'static,
    ) -> Result<Answer> {
        let ended = || Error::new("the query ended unexpectedly");
        let (send_schema, schema) = oneshot::channel();
        let (send, batches) = mpsc::channel(BATCHES_AHEAD);
        let task = self.working.as_ref().ok_or_else(ended)?.spawn(async move {
            // Failing to send means that nobody wants the answer any more.
            let mut rows = match rows.await {
                Ok(rows) => rows,
                Err(error) => return drop(send_schema.send(Err(error))),
            };
            let _ = send_schema.send(Ok(rows.schema()));
            while let Some(batch) = rows.next().await {
                if send.send(batch).await.is_err() {
                    return;
                }
            }
        });
        let task = AbortOnDrop(task);
        let schema = schema.await.map_err(|_| ended())??;
        Ok(Answer { schema, batches, _task: task })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(working) = self.working.take() {
            working.shutdown_background();
        }
    }
}

/// The rows of a query as they come. Dropping it stops the query.
#[derive(Debug)]
pub(crate) struct Answer {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch, tmq_query::Error>>,
    _task: AbortOnDrop,
}

impl Answer {
    /// Its columns.
    pub(crate) fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// All batches at once, for results that are known to be small.
    pub(crate) async fn collect(self) -> Result<Vec<RecordBatch>> {
        Ok(self.try_collect().await?)
    }
}

impl Stream for Answer {
    type Item = Result<RecordBatch, tmq_query::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_recv(cx)
    }
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
