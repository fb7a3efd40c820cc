//! Recordings opened for questions, and the threads that answer them.
//!
//! Queries run on worker threads; the main thread only waits for their rows and for Ctrl-C. A computation may keep every
//! worker busy for seconds without looking up, and must not keep Ctrl-C waiting: so the main thread has a runtime of its
//! own, and a query that is dropped is left behind to notice by itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::{Stream, StreamExt, TryStreamExt};
use tmq_query::report::{Filters, Report};
use tmq_query::tracemalloc::Snapshot;
use tmq_query::{Info, Moment, RecordingRef, Session, SessionOptions};
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
    working: Mutex<Workers>,
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
            working: Mutex::new(Workers::new().map_err(failed)?),
        })
    }

    /// Runs a question to its end. Ctrl-C drops it, which stops its queries and removes unfinished files.
    pub(crate) fn block_on<T>(&self, question: impl Future<Output = Result<T>>) -> Result<T> {
        let result = self.waiting.block_on(async {
            tokio::select! {
                result = question => result,
                _ = tokio::signal::ctrl_c() => Err(Error::new("interrupted").exit(Exit::Interrupted)),
            }
        });
        if result.as_ref().is_err_and(|error| error.code() == Exit::Interrupted) {
            // What was interrupted may go on for a while: the next question gets threads of its own.
            if let Ok(workers) = Workers::new() {
                *self.workers() = workers;
            }
        }
        result
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

    /// The blocks of the first recording that are live at a moment.
    pub(crate) async fn snapshot(&self, moment: &Moment, filters: &Filters) -> Result<Snapshot> {
        let ended = || Error::new("the query ended unexpectedly");
        let session = Arc::clone(&self.session);
        let (moment, filters) = (moment.clone(), filters.clone());
        let (send, snapshot) = oneshot::channel();
        let task = self.workers().spawn(async move {
            // Failing to send means that nobody wants the answer any more.
            let _ = send.send(session.snapshot(0, &moment, &filters).await);
        });
        let _task = AbortOnDrop(task.ok_or_else(ended)?);
        Ok(snapshot.await.map_err(|_| ended())??)
    }

    /// Totals of the first recording.
    pub(crate) fn info(&self) -> Result<Info> {
        Ok(self.session.info(0)?)
    }

    /// Names for completion.
    pub(crate) fn names(&self) -> Vec<String> {
        self.session.names()
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        // Nothing panics while it is held.
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(
        &self,
        rows: impl Future<Output = Result<tmq_query::Rows, tmq_query::Error>> + Send + 'static,
    ) -> Result<Answer> {
        let ended = || Error::new("the query ended unexpectedly");
        let (send_schema, schema) = oneshot::channel();
        let (send, batches) = mpsc::channel(BATCHES_AHEAD);
        let task = self.workers().spawn(async move {
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
        let task = AbortOnDrop(task.ok_or_else(ended)?);
        let schema = schema.await.map_err(|_| ended())??;
        Ok(Answer { schema, batches, _task: task })
    }
}

/// Threads that compute. Dropping them waits for nothing.
#[derive(Debug)]
struct Workers(Option<Runtime>);

impl Workers {
    fn new() -> std::io::Result<Self> {
        Builder::new_multi_thread().enable_all().build().map(|runtime| Self(Some(runtime)))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Option<JoinHandle<()>> {
        self.0.as_ref().map(|runtime| runtime.spawn(task))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
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
