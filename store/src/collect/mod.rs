//! Recording a program: shared memory in, inputs for the store out.
//!
//! ```text
//!  target threads ──chunks──▶ region ──▶ drain ──Input──▶ Sink (store)
//!        ▲                      ▲          │
//!        └── launch (LD_PRELOAD)┘◀─free────┘      record: the loop around it all
//! ```
//!
//! - [`region`]: the shared memory, behind safe methods that trust nothing in it
//! - [`drain`]: rounds over its chunks, the order of streams, the watermark
//! - [`processes`], [`names`], [`procfs`]: who is recorded and whether they still run
//! - [`inspect`], [`elf`], [`launch`]: the program before it runs, and running it
//! - [`clock`], [`pace`], [`mark`]: ticks and time, sleep between rounds, moments named from outside
//! - [`sys`]: system calls. `unsafe` is in `region` and `sys` only.

mod clock;
mod drain;
mod elf;
mod error;
mod facts;
mod heartbeat;
mod inspect;
mod launch;
mod mark;
mod names;
mod pace;
mod processes;
mod procfs;
mod record;
mod region;
mod sink;
mod sys;
mod whole;

#[cfg(test)]
mod testing;

pub use error::Error;
pub use inspect::{Inspection, Verdict, inspect};
pub use mark::mark;
pub use record::{Ended, Observer, Options, Progress, record_into};
pub use region::Config;
pub use tmq_wire::layout::OnFull;
pub use whole::{Outcome, record};
pub use sink::{Input, ProcessCounters, Sink, SinkError};
pub use sys::Exit;
