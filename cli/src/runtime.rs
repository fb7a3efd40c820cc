//! Running asynchronous questions from synchronous commands, and stopping them at Ctrl-C.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::{Stream, StreamExt};
use tmq_query::Session;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::exit::Exit;

/// Threads that answer questions.
#[derive(Debug)]
pub(crate) struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    pub(crate) fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.map(|r| Self(Some(r))).map_err(|e| Error::io("cannot start threads", &e))
    }

    /// Runs a question to its end. Ctrl-C drops it, which stops the query and removes unfinished files.
    pub(crate) fn block_on<T>(&self, question: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(runtime) = &self.0 else { return Err(Error::new("the threads have ended")) };
        runtime.block_on(async {
            tokio::select! {
                result = question => result,
                _ = tokio::signal::ctrl_c() => Err(Error::new("interrupted").exit(Exit::Interrupted)),
            }
        })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // A query that was dropped may still be in a long computation; nobody waits for it.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs one question.
pub(crate) fn block_on<T>(question: impl Future<Output = Result<T>>) -> Result<T> {
    Runtime::new()?.block_on(question)
}

/// Batches that wait to be written. Few: whoever computes faster than the output takes rows waits.
const BATCHES_AHEAD: usize = 4;

/// The answer to a query that is computed on another thread, so that Ctrl-C is heard however long a step of it takes.
/// Dropping it stops the query.
#[derive(Debug)]
pub(crate) struct Answer {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch, tmq_query::Error>>,
    task: JoinHandle<()>,
}

impl Answer {
    /// Starts a query.
    pub(crate) async fn to(session: Arc<Session>, sql: String) -> Result<Self> {
        let (send_schema, schema) = oneshot::channel();
        let (send, batches) = mpsc::channel(BATCHES_AHEAD);
        let task = tokio::spawn(async move {
            let mut rows = match session.sql(&sql).await {
                Ok(rows) => rows,
                Err(error) => {
                    let _ = send_schema.send(Err(error));
                    return;
                }
            };
            // Failing to send means that nobody wants the answer any more.
            let _ = send_schema.send(Ok(rows.schema()));
            while let Some(batch) = rows.next().await {
                if send.send(batch).await.is_err() {
                    return;
                }
            }
        });
        let schema = schema.await.map_err(|_| Error::new("the query ended unexpectedly"))??;
        Ok(Self { schema, batches, task })
    }

    /// Its columns.
    pub(crate) fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}

impl Stream for Answer {
    type Item = Result<RecordBatch, tmq_query::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_recv(cx)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
