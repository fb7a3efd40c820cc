//! Where the collector's findings go: the store, or in tests something that checks them.

use tmq_wire::record::Slot;

use crate::Error;
use crate::ingest::{Ingest, Input};

/// An error of a sink: what became of the recording's files.
pub type SinkError = Error;

/// Takes what the collector learns. Slots of one stream arrive in stream order and end at record boundaries; an image is
/// announced before its slots, and none follow its end.
pub trait Sink {
    /// Takes one input.
    ///
    /// # Errors
    /// The recording cannot go on, for example because the disk is full.
    fn input(&mut self, input: Input<'_>) -> Result<(), Error>;

    /// Takes [`Input::Slots`], and may keep the buffer and leave another one, whatever is in it.
    ///
    /// # Errors
    /// As for [`Sink::input`].
    fn slots(&mut self, incarnation: u32, stream: u32, slots: &mut Vec<Slot>) -> Result<(), Error> {
        self.input(Input::Slots { incarnation, stream, slots })
    }

    /// Says that everything before the stamp `tsc` has been delivered but what is to follow in the streams `missing`, by
    /// image and number. Returns how far everything is in order now, those streams included, in stamps; 0: not at all.
    ///
    /// # Errors
    /// As for [`Sink::input`].
    fn only_missing(&mut self, missing: &[(u32, u32)], tsc: u64) -> Result<u64, Error> {
        let _ = (missing, tsc);
        Ok(0)
    }
}

impl Sink for Ingest {
    fn input(&mut self, input: Input<'_>) -> Result<(), Error> {
        Self::input(self, input)
    }

    fn slots(&mut self, incarnation: u32, stream: u32, slots: &mut Vec<Slot>) -> Result<(), Error> {
        Self::slots(self, incarnation, stream, slots)
    }

    fn only_missing(&mut self, missing: &[(u32, u32)], tsc: u64) -> Result<u64, Error> {
        Self::only_missing(self, missing, tsc)
    }
}
