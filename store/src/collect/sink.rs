//! Where the collector's inputs go: the one interface between shared memory and the store.

pub use crate::ingest::{Input, ProcessCounters};

/// An error of a sink: what became of the recording's files.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Takes what the collector learns. Slots of one stream arrive in stream order and end at record boundaries.
pub trait Sink {
    /// Takes one input.
    ///
    /// # Errors
    /// The recording cannot go on, for example because the disk is full.
    fn input(&mut self, input: Input<'_>) -> Result<(), SinkError>;
}

impl Sink for crate::ingest::Ingest {
    fn input(&mut self, input: Input<'_>) -> Result<(), SinkError> {
        Ok(self.input(input)?)
    }
}
