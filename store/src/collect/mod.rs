//! Recording a program: shared memory in, inputs for the store out.
//!
//! ```text
//!  target threads ──chunks──▶ region ──▶ drain ──Input──▶ Sink (store)
//!        ▲                      ▲          │
//!        └── launch (LD_PRELOAD)┘◀─free────┘
//! ```
//!
//! - [`whole`], [`mod@record`]: a recording from beginning to end; [`session`]: the loop while the target runs; [`facts`]: what
//!   is known before
//! - [`region`]: the shared memory, behind safe methods that trust nothing in it
//! - [`drain`]: rounds over its chunks, the order of streams, the watermark
//! - [`processes`], [`names`], [`procfs`]: who is recorded and whether they still run
//! - [`mod@inspect`], [`elf`], [`launch`]: the program before it runs, and running it
//! - [`clock`], [`pace`], [`heartbeat`], [`mod@mark`]: ticks and time, sleep between rounds, a sign of life, named moments
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
mod session;
mod sink;
mod sys;
mod whole;

#[cfg(any(test, fuzzing))]
mod testing;

pub use error::Error;
pub use inspect::{Inspection, Verdict, inspect};
pub use mark::mark;
pub use record::{Ended, Observer, Options, Progress};
pub use region::Config;
pub use sink::SinkError;
pub use sys::Exit;
#[cfg(fuzzing)]
pub(crate) use testing::fuzzing;
pub use tmq_wire::layout::OnFull;
pub use whole::{Outcome, record};
