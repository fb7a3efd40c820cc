//! Running asynchronous questions from synchronous commands, and stopping them at Ctrl-C.

use std::future::Future;

use crate::error::{Error, Result};
use crate::exit::Exit;

/// Threads that answer questions.
#[derive(Debug)]
pub(crate) struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    pub(crate) fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.map(|r| Self(Some(r))).map_err(|e| Error::new(format!("cannot start threads: {e}")))
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
